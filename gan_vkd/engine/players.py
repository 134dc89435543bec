"""A player: modules and the optimiser that trains them."""

from collections.abc import Mapping

import torch
from torch import nn

from gan_vkd import processes


class Player:
    """Modules whose parameters one Adam trains.

    Args:
        modules: named parts, on their device.
        lr: Adam's rate.
        betas: its decays.
    """

    def __init__(self, modules: Mapping[str, nn.Module], lr: float, betas: tuple[float, float]):
        self.modules = dict(modules)
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        # Fused: one operation for all parameters; on a GPU it counts its steps there.
        on_gpu = parameters[0].is_cuda
        self.optimiser = torch.optim.Adam(parameters, lr, betas, fused=True, capturable=on_gpu)

    def descend(self, loss: torch.Tensor) -> None:
        """One step down the gradient of `loss`, which is left in the parameters' `.grad`.

        In several processes the gradient is the mean of theirs.
        """
        self.optimiser.zero_grad()
        loss.backward()
        processes.average_(self._gradients())
        self.optimiser.step()

    def tune(self, lr: float, betas: tuple[float, float]) -> None:
        """What the next step goes by."""
        for group in self.optimiser.param_groups:
            group |= {"lr": lr, "betas": betas}

    def gradient_norm(self) -> torch.Tensor:
        """The norm of the last gradient, over all parameters; a scalar."""
        return torch.nn.utils.get_total_norm(self._gradients())

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Parts and the optimiser's moments, as flat named tensors."""
        state = {
            f"{part}.{name}": tensor
            for part, module in self.modules.items()
            for name, tensor in module.state_dict().items()
        }
        for index, moments in self.optimiser.state_dict()["state"].items():
            state |= {f"adam.{index}.{name}": tensor for name, tensor in moments.items()}
        return state

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the result of `state_dict`; the next step has the same bits.

        Moments take the memory layout of their parameters, as a fresh optimiser gives it to them:
        fused and foreach steps go by memory.

        Raises:
            KeyError, RuntimeError: a state of other modules.
        """
        for part, module in self.modules.items():
            module.load_state_dict(below(state, part))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        parameters = self._parameters()
        for key, tensor in below(state, "adam").items():
            index, name = key.split(".")
            like = parameters[int(index)] if tensor.ndim else tensor
            copied = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
            moments.setdefault(int(index), {})[name] = copied
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})

    def _gradients(self) -> list[torch.Tensor]:
        return [p.grad for p in self._parameters() if p.grad is not None]

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimiser.param_groups for p in group["params"]]


def below(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with `prefix` and a dot, without both."""
    head = f"{prefix}."
    return {name.removeprefix(head): t for name, t in state.items() if name.startswith(head)}
