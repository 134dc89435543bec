"""Results as people read them: no figure is cut, none is longer than what is known."""

import io

import pytest
from rich.console import Console

from gan_vkd.evaluation.judged import result_path
from gan_vkd.evaluation.table import comparison_table, figure, metrics_table, with_interval

LONG = "timm:vit_base_patch32_clip_quickgelu_224.openai"


def a_result(extractor: str = LONG, reference: str = "digits:train", **protocol) -> dict:
    known = {"value": 118.72, "low": 118.37, "high": 119.07}
    return {
        "extractor": extractor,
        "protocol": {
            "judged_count": 5000,
            "reference": reference,
            "reference_count": 1797,
            "nearest_k": 5,
            "prdc_count": 1797,
            "held_out": "the test split",
            "checkpoint": "iteration 12, the last one",
            "latent_seed": 0,
            "image_size": 32,
            **protocol,
        },
        "metrics": {"fid": known, "kid": known},
        "held_out": {"count": 100, "metrics": {"fid": {"value": 1.25}}},
        "expected": {},
    }


def shown(table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 80])
def test_numbers_are_whole_whatever_the_width(width):  # CASES 17
    text = shown(metrics_table(a_result()), width)
    assert text.count("118.72 ± 0.35") == 2
    assert "1.250" in text
    sides = {"first": "a", "second": "b"}
    value = {"value": 5.0, "low": 4, "high": 6}
    metrics = {"fid": {"first": value, "second": value, "difference": value}}
    compared = {"extractor": LONG, "files": sides, "intervals": "", "metrics": metrics}
    assert shown(comparison_table(compared), width).count("5.0 ± 1.0") == 3


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (-9e-14, 2e-22, "0 ± 0"),  # a folder against itself
        (0.00123, 0.00021, "0.00123 ± 0.00021"),
        (0.001, 3e-9, "0.00100 ± 0"),
        (18.7, 0.35, "18.70 ± 0.35"),
        (1234.0, 56.0, "1234 ± 56"),
        (999999.0, 56.0, "999999 ± 56"),
        (1.26e15, 2.4e14, "1.26e+15 ± 2.40e+14"),  # FLD of copies
        (1e30, 0.0, "1.00e+30 ± 0"),  # an interval lost in rounding
    ],
)
def test_no_more_digits_than_are_known(value, half, text):  # CASES 19
    assert with_interval({"value": value, "low": value - half, "high": value + half}) == text
    assert figure(-9e-14) == "0"
    assert (figure(0.5), figure(0.004), figure(None)) == ("0.500", "0.00400", "-")


def test_results_of_other_flags_have_other_files(tmp_path):  # CASES 21
    plain = result_path(tmp_path, a_result(extractor="bundled-2"))
    assert plain.name == "digits-train-5000-bundled-2.json"
    names = {
        result_path(tmp_path, a_result(**protocol)).name
        for protocol in (
            {},
            {"latent_seed": 1},
            {"nearest_k": 3},
            {"nearest_k": 3, "latent_seed": 1},
            {"checkpoint": "iteration 12, lowest FID"},
        )
    }
    assert len(names) == 5


@pytest.mark.parametrize("reference", ["/a" * 2000 + ":train", "猫" * 200 + ":test", "a/b:train"])
def test_names_of_results_are_short_and_unlike(tmp_path, reference):  # CASES 22
    path = result_path(tmp_path, a_result(reference=reference))
    other = result_path(tmp_path, a_result(reference=reference.replace(":", "/:")))
    assert path.parent == tmp_path / "eval"
    assert path != other
    assert len(f".{path.with_suffix('.nearest.png').name}.1234567.tmp".encode()) < 255
