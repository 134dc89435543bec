import pytest

from gan_vkd.errors import GanVkdError
from gan_vkd.evaluation import judged


def test_the_fields_protocol_is_10000_samples_against_the_test_split(
    refused, digits_run, monkeypatch
):
    asked = {}

    def case_of_run(run, **options):
        asked.update(options)
        raise GanVkdError("enough")

    monkeypatch.setattr(judged, "case_of_run", case_of_run)
    assert "enough" in refused("eval", digits_run, "--protocol", "field")
    assert (asked["reference"], asked["overrides"]) == ("test", {"num": 10_000})


@pytest.mark.parametrize("flag", [("--num", 100), ("--reference", "train")])
def test_flags_that_the_protocol_sets_are_refused(refused, digits_run, flag):
    line = refused("eval", digits_run, "--protocol", "field", *flag)
    assert f"--protocol field sets it: drop {flag[0]}" in line


def test_a_folder_has_no_test_split(refused, make_folder):
    line = refused("eval", make_folder({"a": 3}), "--protocol", "field")
    assert "is not a run: drop --protocol" in line


def test_a_set_without_a_test_split_has_no_field_protocol(refused, digits_run):
    assert "no test split, which --protocol field" in refused(
        "eval", digits_run, "--protocol", "field"
    )
