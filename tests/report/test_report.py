"""The report: whole, escaped, self-contained, and readable in a real browser."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gan_vkd.config.core import Recipe
from gan_vkd.config.layers import dump
from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation.features import BUNDLED
from gan_vkd.gan.exported import load_generator, save_generator
from gan_vkd.report.charts import line_chart
from gan_vkd.report.collect import collect, series
from gan_vkd.report.page import render, write_report

HOSTILE = "<script>alert(1)</script>&\"'"
PHONE, DESKTOP = (360, 740), (1280, 900)


@pytest.fixture(scope="module")
def judged_run(digits_run, tmp_path_factory):
    """The run on digits, judged, with a curve and a class of a hostile name."""
    from click.testing import CliRunner

    from gan_vkd.cli import cli

    run = tmp_path_factory.mktemp("report") / "a run"
    shutil.copytree(digits_run, run, ignore=shutil.ignore_patterns("eval"))
    generator = load_generator(run)
    generator.class_names = (HOSTILE, *generator.class_names[1:])
    result = CliRunner().invoke(cli, ["eval", str(run), "--num", "60", "--quiet"])
    assert result.exit_code == 0, result.output
    save_generator(generator, run / "generator.safetensors")
    (file,) = (run / "eval").glob("*.json")
    written = json.loads(file.read_text())
    written["classes"][0]["name"] = HOSTILE
    written["findings"].append(f"Class {HOSTILE} is missing.")
    written["protocol"]["reference"] = HOSTILE
    file.write_text(json.dumps(written))
    protocol = {"extractor": BUNDLED, "count": 60, "reference": HOSTILE, "reference_count": 9}
    with (run / "curve.jsonl").open("w") as curve:
        for iteration in (4, 8):
            line = {"iteration": iteration, **protocol, "fid": 9.0 / iteration, "recall": 0.1}
            curve.write(json.dumps(line) + "\n")
    return run


@pytest.fixture(scope="module")
def page(judged_run, tmp_path_factory) -> Path:
    """Two runs side by side; the second was neither judged nor has a checkpoint."""
    bare = tmp_path_factory.mktemp("report") / "bare"
    bare.mkdir()
    shutil.copy(judged_run / "config.yaml", bare)
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report([judged_run, bare], out)
    return out


def test_all_is_there_and_all_text_is_escaped(page):
    text = page.read_text()
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4  # class, finding, two origins
    for words in (
        f"FID[{BUNDLED}]",
        "Overfitting",
        "Nearest training images",
        "Protocol",
        "Recipes",
    ):
        assert words in text
    assert "Not evaluated yet" in text
    assert "No checkpoint yet" in text
    assert text.count("<svg") >= 9


def test_it_needs_no_network(page):
    text = page.read_text()
    for address in re.findall(r'(?:src|href|url)\s*=\s*"([^"]*)"', text):
        assert address.startswith(("data:image/png;base64,", "#")), address
    assert not re.findall(r"url\((?!#)", text)
    assert "@import" not in text


def test_the_command_writes_it_into_the_run(gan_vkd, judged_run):
    result = gan_vkd("report", judged_run, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(judged_run / "report.html")
    assert "a run" in (judged_run / "report.html").read_text()


def test_the_page_goes_where_it_is_asked_for_or_the_place_is_named(
    gan_vkd, refused, judged_run, tmp_path
):
    out = tmp_path / "new" / "page.html"
    assert gan_vkd("report", judged_run, "--out", out).exit_code == 0
    assert out.read_text().startswith("<!doctype html>")
    assert refused("report", judged_run, "--out", tmp_path).startswith(f"Error: {tmp_path}: ")


def test_what_a_log_lacks_is_left_out(judged_run):
    facts = replace(collect(judged_run), log=[{"iteration": 1, "g": 0.5}], curve=[], result=None)
    text = render([facts])
    assert "G&#39;s loss" in text
    assert "Overfitting" not in text
    assert "Metrics while training" not in text


def test_series_take_numbers_only():
    lines = [{"iteration": 1, "g": float("nan")}, {"iteration": 2, "g": "x"}, {"iteration": 3}]
    assert series([*lines, {"iteration": 4, "g": 2}], "g") == [(4, 2.0)]


def test_charts_take_the_page_s_colour():
    svg = line_chart([("#3b82c4", [(1, 2.0), (2, 3.0)]), ("#d9722e", [(1, 1.0)])])
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert "#3b82c4" in svg
    assert "#010203" not in svg


def test_bad_input(refused, judged_run, tmp_path):
    assert "not a run directory" in refused("report", tmp_path)
    run = tmp_path / "run"
    shutil.copytree(judged_run, run)
    (file,) = (run / "eval").glob("*.json")
    picture = file.with_suffix(".nearest.png")
    picture.write_bytes(picture.read_bytes()[:100])
    assert "not a whole PNG" in refused("report", run)
    old = json.loads(file.read_text())
    del old["findings"]
    file.write_text(json.dumps(old))
    assert "of an older version" in refused("report", run)
    file.write_text("{")
    assert "not a result of gan-vkd eval" in refused("report", run)


def test_a_recipe_alone(tmp_path):
    (tmp_path / "config.yaml").write_text(dump(Recipe()))
    assert "V_kD with clip" in render([collect(tmp_path)])
    with pytest.raises(GanVkdError, match="not a run directory"):
        collect(tmp_path / "nothing")


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium, driven by its own driver."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("needs chromium and chromedriver (Debian: chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs[1]))
    yield driver
    driver.quit()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_in_a_browser(browser, page, size, dark, tmp_path):
    width, height = size
    shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.get(page.as_uri())

    def ask(script: str) -> object:
        return browser.execute_script(f"return {script}")

    assert browser.title.startswith("a run, bare")
    assert ask("document.documentElement.scrollWidth") <= width  # nothing to the side
    assert ask("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert ask("document.images.length") == 2
    channels = [
        sum(map(int, re.findall(r"\d+", ask(f"getComputedStyle(document.body).{name}"))[:3]))
        for name in ("backgroundColor", "color")
    ]
    assert (channels[0] < channels[1]) == dark
    ink = ask("getComputedStyle(document.querySelector('svg text')).fill")
    assert sum(map(int, re.findall(r"\d+", ink)[:3])) == pytest.approx(channels[1], abs=3)
    cards = ask("[...document.querySelectorAll('.runs')][0].children.length")
    tops = ask("[...document.querySelectorAll('.runs')[0].children].map(c => c.offsetTop)")
    assert cards == 2
    assert (tops[0] == tops[1]) == (size == DESKTOP)  # side by side where there is room
    assert ask("document.querySelectorAll('script').length") == 0
    assert browser.get_log("browser") == []
    assert browser.save_screenshot(str(tmp_path / "page.png"))
