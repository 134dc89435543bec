import json
from pathlib import Path

import pytest
import yaml

from gan_vkd.errors import GanVkdError
from gan_vkd.study.plan import Unit, Workplace, read_study, settings_of

SHIPPED = ("arms", "table3", "fig1", "strength", "leaderboard", "leaderboard-10")
STUDIES = Path(__file__).resolve().parents[2] / "configs" / "studies"


@pytest.fixture
def altered(tmp_path):
    """Writes the study `arms` with other fields → its path."""

    def write(name="mine", **fields):
        text = yaml.safe_load((STUDIES / "arms.yaml").read_text()) | fields
        (tmp_path / "arms.yaml").write_text((STUDIES / "arms.yaml").read_text())
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(text))
        return tmp_path / f"{name}.yaml"

    return write


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", SHIPPED)
def test_the_studies_that_ship_are_whole(name, quick):
    study = read_study(STUDIES / f"{name}.yaml", quick)
    assert len(study.seeds) >= (2 if quick else 3)
    assert study.claims


def test_studies_share_the_arms_that_they_have_in_common():
    arms = read_study(STUDIES / "arms.yaml")
    for name in ("table3", "fig1", "strength"):
        other = read_study(STUDIES / f"{name}.yaml")
        for unit in other.units():
            assert other.recipe(unit, 5, {}) == arms.recipe(unit, 5, {})


def test_all_arms_of_a_seed_come_before_the_next_seed():
    study = read_study(STUDIES / "table3.yaml", only={"arms": ["none", "whiten"]})
    units = study.units()
    assert [str(unit) for unit in units[:4]] == [
        *("cifar10/none/0", "cifar10/whiten/0", "cifar10/none/1", "cifar10/whiten/1"),
    ]
    assert len(units) == 2 * 2 * 5


def test_an_arms_settings_lie_over_the_common_ones_and_the_preset():
    study = read_study(STUDIES / "arms.yaml")
    recipe = study.recipe(Unit("cifar10", "ratio-2", 1), 7, {"subset": 0.5})
    assert (recipe.distill.ratio, recipe.distill.weight) == (2.0, None)
    assert (recipe.training.eval_every, recipe.training.seed) == (0, 1)
    assert (recipe.training.iterations, recipe.data.subset, recipe.gan.channels) == (7, 0.5, 8)
    plain = study.recipe(Unit("cifar10", "none", 1), 7, {})
    assert (plain.teacher.spec, plain.distill.weight) == ("none", 1.0)


def test_what_a_checkpoint_depends_on():
    study = read_study(STUDIES / "arms.yaml")
    unit = Unit("cifar10", "whiten", 0)
    one = settings_of(study.recipe(unit, 7, {"subset": 0.5}))
    assert one == settings_of(study.recipe(unit, 9, {"dataset": "/elsewhere"}))
    assert one != settings_of(study.recipe(Unit("cifar10", "whiten", 1), 7, {}))
    assert one != settings_of(study.recipe(Unit("cifar10", "layernorm", 0), 7, {}))
    json.dumps(one)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"baseline": "nobody"}, "no arm is called 'nobody'"),
        ({"checkpoints": [9, 3]}, "checkpoints go upwards"),
        ({"common": {"distil": {}}}, "mine: common: distil: no such field; did you mean distill"),
        ({"arms": {"none": {}}}, "no arm is called 'whiten'"),
        ({"flavour": 3}, "flavour"),
        ({"common": {"training": {"d_lr": -1}}}, "training.d_lr"),
    ],
)
def test_what_is_wrong_in_a_study_is_said_in_a_line(altered, fields, said):
    with pytest.raises(GanVkdError, match=said) as caught:
        read_study(altered(**fields))
    assert "\n" not in str(caught.value)


def test_arms_and_seeds_that_are_none_are_refused():
    with pytest.raises(GanVkdError, match="arms: 'whitten' is none of none, whiten"):
        read_study(STUDIES / "arms.yaml", only={"arms": ["whitten"]})
    with pytest.raises(GanVkdError, match="seeds: 9 is none of 0, 1, 2"):
        read_study(STUDIES / "arms.yaml", only={"seeds": [9]})


def test_data_comes_whole_or_drawn_before(tmp_path):
    study, unit = read_study(STUDIES / "arms.yaml"), Unit("cifar100", "none", 2)
    whole = Workplace(study, tmp_path).recipe(unit, 1).data
    assert (whole.dataset, whole.subset) == ("cifar100", 0.02)
    drawn = Workplace(study, tmp_path, source=tmp_path / "photos").recipe(unit, 1).data
    assert drawn.dataset == str(tmp_path / "photos" / "cifar100-0.02-seed2")
    assert drawn.subset == 1.0
