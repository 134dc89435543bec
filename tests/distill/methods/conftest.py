import pytest
import torch

from gan_vkd.config.registry import METHODS
from gan_vkd.distill.methods.method import Seen, Setting
from gan_vkd.distill.outputs import Outputs

CLASSES, IMAGES = 5, 12
LABELS = torch.arange(IMAGES) % CLASSES


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def outputs(count: int, channels: tuple[int, ...], sides: tuple[int, ...], dim: int) -> Outputs:
    maps = tuple(
        torch.randn(count, c, s, s, requires_grad=True)
        for c, s in zip(channels, sides, strict=True)
    )
    logits = torch.randn(count, CLASSES, requires_grad=True)
    return Outputs(
        logits,
        torch.randn(count, dim, requires_grad=True),
        maps,
        tuple(torch.randn_like(m) for m in maps),
        torch.randn(count, 6, dim, requires_grad=True),
    )


@pytest.fixture
def seen() -> Seen:
    """Six images: a student with four maps, a teacher with five of other sizes and channels."""
    rows = torch.tensor([7, 2, 9, 0, 11, 4])
    return Seen(
        outputs(6, (2, 3, 4, 5), (8, 8, 4, 2), 7),
        outputs(6, (3, 4, 6, 8, 9), (8, 8, 8, 4, 4), 10),
        LABELS[rows],
        rows,
        torch.tensor([12345]),
    )


@pytest.fixture
def make(seen):
    """Makes a method for `seen` by its name and settings, ready to train."""

    def made(name: str, **settings: object):
        kind = METHODS[name]
        setting = Setting(seen.student, seen.teacher, LABELS)
        return kind(kind.Settings(method=name, **settings), setting).train()

    return made
