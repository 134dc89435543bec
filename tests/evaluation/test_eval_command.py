import json
import shutil

import pytest
from PIL import Image

from gan_vkd.evaluation.features import BUNDLED

METRICS = ["fid", "inception_score", "kid", "precision", "recall", "density", "coverage"]
METRICS += ["clipped_density", "clipped_coverage", "mind", "vendi"]


def test_a_run_is_judged_and_the_result_kept(gan_vkd, digits_run):
    result = gan_vkd("eval", digits_run, "--num", 200)
    assert result.exit_code == 0, result.output
    assert f"FID[{BUNDLED}]" in result.stdout
    (path,) = (digits_run / "eval").glob("*-200-*.json")
    written = json.loads(path.read_text())
    assert list(written["metrics"]) == METRICS
    for metric in written["metrics"].values():
        assert metric.keys() == {"value", "low", "high"}
        assert metric["low"] is None or metric["low"] < metric["value"] < metric["high"]
    for name in ("fid", "kid"):
        assert written["metrics"][name]["low"] is not None
    assert "not of the training seed" in written["protocol"]["intervals"]
    protocol = written["protocol"]
    assert (protocol["judged_count"], protocol["reference_count"], protocol["prdc_count"]) == (
        200,
        1797,
        200,
    )
    assert written["extractor"] == BUNDLED
    assert written["held_out"] is None  # digits have one split
    assert protocol["checkpoint"] == "iteration 12, the last one"
    assert protocol["run"] == digits_run.name
    assert protocol["training_count"] == 1617
    assert protocol["unseen_count"] == 180  # a tenth that the run has set aside
    assert len(written["classes"]) == 10
    assert written["findings"]  # twelve iterations make no digits
    assert path.with_suffix(".nearest.png").is_file()
    assert any(sentence[:20] in result.stdout for sentence in written["findings"])
    assert written["expected"]["coverage"] == pytest.approx(0.969, abs=0.01)


def test_json_to_standard_output_and_nothing_else_there(gan_vkd, digits_run):
    result = gan_vkd("eval", digits_run, "--num", 50, "--json", "-", "--quiet")
    assert list(json.loads(result.stdout)["metrics"]) == METRICS
    loud = gan_vkd("eval", digits_run, "--num", 50, "--json", "-")
    assert json.loads(loud.stdout) == json.loads(result.stdout)
    assert f"FID[{BUNDLED}]" in loud.stderr


def test_several_extractors_in_one_table(gan_vkd, digits_run, make_folder):
    names = ["bundled-2b", "bundled-1"]
    few = ["--num", 60, "--reference", make_folder({"a": 60}), "--json", "-"]
    flags = [part for name in names for part in ("--extractor", name)]
    result = gan_vkd("eval", digits_run, *few, *flags)
    assert [each["extractor"] for each in json.loads(result.stdout)] == names
    for name in names:
        assert f"FID[{name}]" in result.stderr
        alone = gan_vkd("eval", digits_run, *few, "--extractor", name)
        assert json.loads(alone.stdout) in json.loads(result.stdout)
    weights = gan_vkd("eval", digits_run, *flags, "--extractor-weights", "x.pth")
    assert weights.exit_code == 2
    assert "give one --extractor" in weights.stderr


def test_memorisation_is_written_and_shown(gan_vkd, digits_run):
    result = gan_vkd("eval", digits_run, "--num", 100, "--json", "-")
    found = json.loads(result.stdout)["memorisation"]
    assert found["preference"]["count"] == 100  # held-out images are cut to as many
    for metric in (found["preference"]["pixels"], found["authenticity"]["judged"]):
        assert 0 <= metric["value"] <= 1
    assert found["copying_statistic_over_cells"]["cells"] >= 1
    assert found["fld"]["low"] < found["fld"]["value"]
    rows = ("nearer to training[pixels]", *(f"{n}[{BUNDLED}]" for n in ("AuthPct", "C_T", "FLD")))
    for row in rows:
        assert row in result.stderr


def test_the_same_figures_with_the_cache_removed(gan_vkd, make_folder, monkeypatch, tmp_path):
    judged = make_folder({"a": 60})
    reference = make_folder({"train/a": 90, "test/a": 60}, name="reference")
    figures = []
    for name in ("one", "other"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        flags = ["--reference", reference, "--json", "-", "--quiet"]
        result = gan_vkd("eval", judged, *flags)
        figures.append(json.loads(result.stdout))
    assert figures[0] == figures[1]


def test_a_folder_of_samples_equals_its_run(gan_vkd, digits_run, tmp_path):
    gan_vkd("sample", digits_run, "--out", tmp_path / "samples", "--num", 150, "--quiet")
    of_run = gan_vkd("eval", digits_run, "--num", 150, "--json", "-", "--quiet")
    flags = ["--reference", "digits", "--json", "-", "--quiet"]
    of_folder = gan_vkd("eval", tmp_path / "samples", *flags)
    assert of_folder.exit_code == 0, of_folder.output
    one, other = (json.loads(r.stdout)["metrics"] for r in (of_run, of_folder))
    for name in METRICS:
        assert other[name]["value"] == pytest.approx(one[name]["value"], rel=0.02), name


def test_real_images_beat_noise(gan_vkd, make_folder, photographs):
    """Held-out real images as the yardstick, on photographs."""
    noise = make_folder({"a": 300}, size=32)
    flags = ["--reference", f"{photographs}:test"]
    result = gan_vkd("eval", noise, *flags, "--json", "-", "--quiet")
    assert result.exit_code == 0, result.output
    written = json.loads(result.stdout)
    judged, held_out = written["metrics"], written["held_out"]["metrics"]
    assert written["held_out"]["count"] == 300
    assert held_out["fid"]["value"] < judged["fid"]["value"] / 5
    assert held_out["coverage"]["value"] > 0.9 > judged["coverage"]["value"]
    assert judged["recall"]["value"] < 0.05


def test_subset_as_reference(gan_vkd, digits_run):
    result = gan_vkd(
        "eval", digits_run, "--num", 50, "--reference", "subset", "--json", "-", "--quiet"
    )
    written = json.loads(result.stdout)
    assert written["protocol"]["reference_count"] == 1617
    assert written["held_out"]["count"] == 50  # of the 180 that the run never saw
    assert written["held_out"]["metrics"]["fid"]["value"] < written["metrics"]["fid"]["value"]


def test_a_teacher_as_the_extractor(gan_vkd, digits_run, make_folder):
    """Any teacher's features; the run's own with a warning."""
    flags = ["--num", 60, "--reference", make_folder({"a": 60}), "--json", "-"]
    result = gan_vkd("eval", digits_run, "--extractor", "efficientnet-lite0", *flags)
    assert result.exit_code == 0, result.output
    assert "is the teacher that this run learned from" in " ".join(result.stderr.split())
    written = json.loads(result.stdout)
    assert written["extractor"] == "efficientnet-lite0"
    assert written["protocol"]["extractor_is_the_teacher"] is True
    assert written["metrics"]["inception_score"]["value"] is None  # no class scores
    assert written["metrics"]["fid"]["value"] > 0


def test_bad_input(refused, digits_run, make_folder, tmp_path):
    assert "--reference SPEC" in refused("eval", make_folder({"a": 9}, name="1"))
    assert "no such run" in refused("eval", tmp_path / "nothing", "--reference", "digits")
    assert "no test split" in refused("eval", digits_run, "--reference", "test", "--quiet")
    few = make_folder({"a": 3}, name="2")
    line = refused("eval", few, "--reference", "digits", "--quiet")
    assert f"{few}: 3 images are too few for k = 5" in line  # CASES 38
    enough = make_folder({"a": 9}, name="4")
    line = refused("eval", enough, "--reference", few, "--quiet")
    assert f"--reference {few}: 3 images are too few" in line
    mixed = make_folder({"a": 9}, name="3")
    make_folder({"b": 1}, size=20, name="3")
    assert "20x20" in refused("eval", mixed, "--reference", "digits")
    flags = ["--extractor", "nothing"]
    assert "--extractor nothing: unknown" in refused("eval", digits_run, *flags)
    flags = ["--extractor", "timm:resnet18", "--extractor-weights", tmp_path / "none.pth"]
    assert "--extractor-weights" in refused("eval", digits_run, *flags)
    assert "takes none" in refused(
        "eval", digits_run, "--extractor", "efficientnet-lite0", "--extractor-weights", __file__
    )
    (tmp_path / "config.yaml").write_text("{}")
    assert "no checkpoint yet" in refused("eval", tmp_path, "--quiet")


def test_the_figures_are_shown_before_anything_is_written(gan_vkd, digits_run, tmp_path):
    # CASES 22
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "figures.json"
    result = gan_vkd("eval", digits_run, "--num", 50, "--seed", 7, "--json", place, "--quiet")
    assert result.exit_code == 2
    assert f"FID[{BUNDLED}]" in result.stdout
    assert list((digits_run / "eval").glob("*-seed7.json"))  # CASES 21: not over another seed's


@pytest.fixture
def saved_again(make_folder, tmp_path):
    """Twenty images of 32 pixels, and what else becomes of them."""
    originals = make_folder({"a": 20}, size=32, name="originals")

    def save(name: str, suffix: str = ".png", size: int = 32):
        (tmp_path / name).mkdir()
        for file in sorted(originals.rglob("*.png")):
            image = Image.open(file).resize((size, size))
            image.save(tmp_path / name / f"{file.stem}{suffix}")
        return tmp_path / name

    return originals, save


def test_what_is_smaller_than_the_reference_is_not_judged_in_silence(
    gan_vkd, refused, saved_again
):  # CASES 16
    originals, save = saved_again
    small = save("small", size=8)
    flags = ["--reference", originals, "--quiet"]
    line = refused("eval", small, *flags)
    assert "images have 8x8 pixels" in line
    assert "with --size 8" in line
    result = gan_vkd("eval", small, *flags, "--size", 8)
    assert "20 images of 8x8 pixels" in " ".join(result.stdout.split())


def test_images_of_several_sizes_are_brought_to_one(gan_vkd, refused, make_folder):
    mixed = make_folder({"a": 9}, size=24, name="mixed")
    make_folder({"b": 9}, size=40, name="mixed")
    assert "40x40" in refused("eval", mixed, "--reference", "digits")
    result = gan_vkd("eval", mixed, "--reference", "digits", "--size", 16)
    assert result.exit_code == 0, result.output
    assert "18 images of 16x16 pixels" in " ".join(result.stdout.split())
    assert result.stderr.count("is resized to 16") == 1


def test_another_compression_is_said(gan_vkd, saved_again):  # CASES 23, 14
    originals, save = saved_again
    photographs = save("photographs", ".jpg")
    said = gan_vkd("eval", originals, "--reference", photographs, "--quiet").stdout
    assert "(images: none; reference: JPEG)" in said
    said = gan_vkd("eval", photographs, "--reference", originals, "--quiet").stdout
    assert "(images: JPEG; reference: none)" in said
    assert "Not tested: whether images repeat reference images with small changes" in said
    alike = gan_vkd("eval", originals, "--reference", save("others"), "--quiet").stdout
    assert "compressed" not in alike


def test_data_that_moved_are_named_with_the_flag_that_says_where(
    gan_vkd, refused, digits_run, tmp_path
):  # CASES 26
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(digits_run / "generator.safetensors", run)
    config = (digits_run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("dataset: digits", "dataset: /moved/images"))
    line = refused("eval", run, "--quiet")
    assert "/moved/images, is not there any more" in line
    assert "with --dataset" in line
    assert gan_vkd("eval", run, "--num", 20, "--quiet", "--dataset", "digits").exit_code == 0
    line = refused("eval", digits_run, "--reference", "digts", "--quiet")
    assert line.startswith("Error: --reference digts: ")


def test_flags_that_would_do_nothing_are_refused(refused, digits_run, make_folder):
    folder = make_folder({"a": 9})
    for flag in (["--seed", 1], ["--checkpoint", "best"], ["--dataset", "digits"]):
        line = refused("eval", folder, "--reference", "digits", *flag)
        assert f"is not a run: drop {flag[0]}" in line
    assert "is a run: drop --size" in refused("eval", digits_run, "--size", 16)
