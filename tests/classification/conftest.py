from pathlib import Path

import pytest
import torch

from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.data.images import ImageSet
from gan_vkd.distill.classifiers import Shape, build_classifier, write_classifier

DIGITS = tuple("0123456789")


@pytest.fixture(scope="session")
def taught_file(tmp_path_factory) -> Path:
    """A teacher for digits at random weights, as a file."""
    path = tmp_path_factory.mktemp("teacher") / "network.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        write_classifier(build_classifier(Shape("resnet8x4", DIGITS, 16)), path, {})
    return path


@pytest.fixture
def noise() -> ImageSet:
    """40 images of 4 classes, noise of 16 pixels."""
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 16, 16), generator=draws, dtype=torch.uint8)
    return ImageSet(images, torch.arange(40) % 4, tuple("abcd"))


@pytest.fixture
def recipe():
    """Makes a recipe of small batches without augmentation; groups of settings as arguments."""

    def made(**groups: dict) -> ClassificationRecipe:
        training = {"batch_size": 8, "epochs": 2, "lr": 0.1, "precision": "fp32"}
        settings = {
            "data": {"augment": "none", "flip": False, "image_size": 16} | groups.pop("data", {}),
            "training": training | groups.pop("training", {}),
            **groups,
        }
        return ClassificationRecipe.model_validate(settings)

    return made
