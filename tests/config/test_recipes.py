import pytest

from gan_vkd.config.layers import PRESETS, dump, file_layer, merge, preset_layer, resolve, set_layer
from gan_vkd.errors import GanVkdError


def resolved(*assignments: str, preset: str = "lab"):
    return resolve([("preset", preset_layer(preset)), ("--set", set_layer(assignments))])


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_recipes_and_survive_a_round_trip(preset, tmp_path):
    recipe = resolved(preset=preset)
    (tmp_path / "config.yaml").write_text(dump(recipe))
    assert resolve([("file", file_layer(tmp_path / "config.yaml"))]) == recipe


def test_cifar_is_the_fields_recipe():
    recipe = resolved(preset="cifar")
    training = recipe.training
    assert (recipe.gan.channels, recipe.gan.z_dim, recipe.data.augment) == (
        64,
        128,
        "translation,cutout",
    )
    assert (training.batch_size, training.d_steps, training.d_lr, training.g_lr) == (
        50,
        4,
        2e-4,
        2e-4,
    )
    assert (training.ema_decay, training.ema_start) == (0.9999, 1000)
    assert recipe.teacher.spec == "clip"


def test_later_layers_win_and_keep_their_neighbours():
    recipe = resolved("gan.channels=24", "training.d_lr=1e-3", "data.augment=none")
    assert (recipe.gan.channels, recipe.training.d_lr, recipe.data.policies) == (24, 1e-3, ())
    assert recipe.gan.generator_widths == (4, 4, 2, 1)
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("gan.chanels=3", ["gan.chanels", "gan.channels"]),
        ("channels.gan=3", ["channels", "no such field"]),
        ("training.channels=3", ["training.channels", "gan.channels"]),
        ("gan.channels=many", ["gan.channels", "integer", "'many'"]),
        ("gan.channels=-1", ["gan.channels", "greater than 0"]),
        ("gan.channels=2.5", ["gan.channels", "integer"]),
        ("data.subset=0", ["data.subset", "greater than 0"]),
        ("data.subset=1.5", ["data.subset", "less than or equal to 1"]),
        ("data.flip=maybe", ["data.flip", "bool"]),
        ("data.augment=cutout,blur", ["data.augment", "'blur'", "translation"]),
        ("data.image_size=40", ["data.image_size", "multiple of 16"]),
        ("data.image_size=272", ["data.image_size", "256"]),
        ("distill.normalise=zca", ["distill.normalise", "whiten-dataset"]),
        ("gan.generator_widths=[4, 4]", ["gan.generator_widths", "32 pixels take 4", "narrow"]),
        ("gan.generator_widths=[4, 0, 4, 4]", ["gan.generator_widths", "greater than 0"]),
        ("gan.channels", ["write group.field=value"]),
        ("gan.channels=[", ["not YAML"]),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_field(assignment, words):
    with pytest.raises(GanVkdError) as error:
        resolved(assignment)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_wrong_layer_is_refused_though_a_later_one_overrides_it():
    bad, good = {"gan": {"channels": 0}}, {"gan": {"channels": 8}}
    with pytest.raises(GanVkdError, match="first"):
        resolve([("first", bad), ("second", good)])


def test_files_that_are_no_recipes(tmp_path):
    path = tmp_path / "recipe.yaml"
    with pytest.raises(GanVkdError, match="cannot be read"):
        file_layer(path)
    path.write_text("- a\n- list\n")
    with pytest.raises(GanVkdError, match="not a recipe"):
        file_layer(path)
    path.write_text("data: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(GanVkdError, match="not YAML"):
        file_layer(path)


def test_a_name_that_is_there_twice_is_refused(tmp_path):  # CASES 33
    path = tmp_path / "recipe.yaml"
    for text in ("data: {flip: true}\ndata: {subset: 0.5}\n", "data:\n  subset: 1\n  subset: 0.5"):
        path.write_text(text)
        with pytest.raises(GanVkdError, match="is there twice, again in line"):
            file_layer(path)
    with pytest.raises(GanVkdError, match="a is there twice"):
        set_layer(("data.x={a: 1, a: 2}",))
