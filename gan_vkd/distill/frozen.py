"""Frozen networks while others train: moved with them, not saved, the same at `--resume`."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import nn

from gan_vkd.errors import GanVkdError

TEACHER = "teacher.sha256"  # in a checkpoint


class Frozen(nn.Module):
    """Holds modules that are moved with it and are no part of it: neither trained nor saved.

    They stay in eval mode and get no gradients. What is saved in their place is their SHA-256, and
    a state with another one is refused: what was trained on them would mean something else.

    Args:
        what: they are, for the message.
        modules: to hold.
    """

    def __init__(self, what: str, *modules: nn.Module):
        super().__init__()
        self.what = what
        self.modules_held = [m.eval().requires_grad_(False) for m in modules]  # not registered
        self.digest = sha256_of(self.modules_held)

    def forward(self, x: torch.Tensor) -> object:
        """The modules one after another."""
        for module in self.modules_held:
            x = module(x)
        return x

    def _apply(
        self, convert: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> nn.Module:
        for module in self.modules_held:
            module._apply(convert, recurse)
        return super()._apply(convert, recurse)

    def get_extra_state(self) -> torch.Tensor:
        """The SHA-256, uint8 [32]."""
        return self.digest.clone()

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Compare with the SHA-256 of a saved state.

        Raises:
            GanVkdError: another one.
        """
        if not torch.equal(state.cpu(), self.digest):
            raise GanVkdError(
                f"the discriminator was trained on other {self.what} (SHA-256 differs): put the "
                "same backbone, weights and seed back, or start from generator.safetensors alone"
            )


class TeacherMark:
    """A teacher's SHA-256 in checkpoints: one with another teacher's is refused.

    Half a training under each of two teachers would be a training under none.

    Args:
        spec: the teacher's, for the message.
        teacher: None where there is none; then nothing is noted.
    """

    def __init__(self, spec: str, teacher: nn.Module | None):
        self.spec, self.teacher = spec, teacher

    @cached_property
    def digest(self) -> torch.Tensor:
        """Uint8 [32]."""
        return sha256_of([self.teacher])

    def put(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A checkpoint's tensors, with the mark."""
        return dict(state) if self.teacher is None else {**state, TEACHER: self.digest}

    def taken(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A checkpoint's tensors without the mark; those of earlier versions have none.

        Raises:
            GanVkdError: another teacher's.
        """
        state = dict(state)
        digest = state.pop(TEACHER, None)
        if digest is not None and not torch.equal(digest, self.digest):
            raise GanVkdError(
                f"--teacher {self.spec}: other weights than the run began with (SHA-256 differs): "
                "put them back, or start a new run"
            )
        return state


def sha256_of(modules: list[nn.Module]) -> torch.Tensor:
    """Of the modules' names and tensors, uint8 [32]."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)
