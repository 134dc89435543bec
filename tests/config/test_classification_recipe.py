"""The recipe of gan-vkd classify, and the files in configs/classify."""

from pathlib import Path

import pytest

from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.layers import dump, file_layer, read_yaml, resolve, set_layer
from gan_vkd.config.registry import METHODS

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs" / "classify").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_are_recipes_and_survive_a_round_trip(path):
    recipe = resolve([(str(path), file_layer(path))], ClassificationRecipe)
    assert resolve([("again", read_yaml(dump(recipe), "again"))], ClassificationRecipe) == recipe


def test_the_defaults_are_the_benchmarks():
    crd = next(path for path in CONFIGS if path.stem == "crd")
    recipe = resolve([(str(crd), file_layer(crd))], ClassificationRecipe)
    assert recipe == ClassificationRecipe()
    training = recipe.training
    assert (training.epochs, training.batch_size, training.milestones) == (240, 64, (150, 180, 210))
    assert (training.optimiser, training.weight_decay, training.lr) == ("sgd", 5e-4, None)
    assert (recipe.data.dataset, recipe.data.image_size, recipe.data.augment) == (
        "cifar100",
        32,
        "crop",
    )


# Weights of the loss, the KL divergence and the cross-entropy: RepDistiller's, mdistiller's for
# dkd and reviewkd, ICKD's own.
WEIGHTS = {
    "none": (0, 0, 1),
    "kd": (0.9, 0, 0.1),
    "dkd": (1, 0, 1),
    "fitnet": (100, 0, 1),
    "at": (1_000, 0, 1),
    "nst": (50, 0, 1),
    "sp": (3_000, 0, 1),
    "reviewkd": (5, 0, 1),
    "cc": (0.02, 0, 1),
    "rkd": (1, 0, 1),
    "pkt": (30_000, 0, 1),
    "crd": (0.8, 0, 1),
    "crd+kd": (0.8, 1, 1),
    "wcord": (1, 0, 1),
    "wcord+kd": (1, 1, 1),
    "vid": (1, 0, 1),
    "ickd": (2.5, 0, 1),
    "srd": (1, 0, 1),
    "vkd": (1, 0, 1),
}


@pytest.mark.parametrize("name", list(METHODS))
def test_weights_are_the_published_ones(name):
    settings = ClassificationRecipe(distill={"method": name}).distill
    assert (settings.weight, settings.kd_weight, settings.ce_weight) == WEIGHTS[name]
    assert settings.temperature == 4
    assert METHODS[name].paper


def test_printed_recipe_is_one_for_config(gan_vkd, refused, tmp_path):
    path = tmp_path / "recipe.yaml"
    result = gan_vkd("recipe", "--classify", "--set", "distill.method=fitnet")
    path.write_text(result.stdout)
    expected = resolve([("set", set_layer(("distill.method=fitnet",)))], ClassificationRecipe)
    assert resolve([("file", file_layer(path))], ClassificationRecipe) == expected
    assert "which map is compared" in result.stdout
    assert "use --config" in refused("recipe", "--classify", "--preset", "lab")
