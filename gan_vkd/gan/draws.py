"""Every random number of one iteration, as a function of (seed, iteration)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from gan_vkd.data.batches import balanced_indices, batch_indices, flip_coins
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.randomness import generator


@dataclass(frozen=True)
class StepDraws:
    """Of one step, on one device. A step of G, which sees no real images, has no real part.

    Attributes:
        latents: float32 [B, z_dim], standard normal.
        labels: int64 [B], the classes to generate, as often as real images of them are shown.
        fake: what augments the generated images, by policy.
        rows: int64 [B]: which training images are shown.
        mirrored: bool [B], which of them are mirrored.
        real: what augments them, by policy; a step of G has it where its loss compares with them.
        own: the terms' own numbers, by term and by name.
    """

    latents: torch.Tensor
    labels: torch.Tensor
    fake: dict[str, torch.Tensor]
    rows: torch.Tensor | None = None
    mirrored: torch.Tensor | None = None
    real: dict[str, torch.Tensor] | None = None
    own: Mapping[str, dict[str, torch.Tensor]] = field(default_factory=dict)


class Draws:
    """Draws the numbers of an iteration and hands them out step by step.

    Args:
        labels: int64 [N], of the training images.
        image_size: their side, pixels.
        batch_size: B.
        d_steps: steps of D an iteration; one of G follows.
        z_dim: latent dimension.
        flip: whether training images are mirrored at random.
        augmentation: of real and generated images.
        seed: of everything.
        terms: what draws the terms' own numbers, by name (see `Term.draw`).
        paired: whether G's step augments real images too.
        balanced: whether every class is shown and generated equally often; else as often as it
            has images.
    """

    def __init__(
        self,
        labels: torch.Tensor,
        *,
        image_size: int,
        batch_size: int,
        d_steps: int,
        z_dim: int,
        flip: bool,
        augmentation: Augmentation,
        seed: int,
        balanced: bool = False,
        terms: Mapping[str, Callable[..., dict[str, torch.Tensor]]] | None = None,
        paired: bool = False,
    ):
        self.labels, self.image_size, self.augmentation = labels.cpu(), image_size, augmentation
        self.batch_size, self.d_steps, self.z_dim, self.flip = batch_size, d_steps, z_dim, flip
        self.seed, self.terms, self.paired = seed, dict(terms or {}), paired
        # what labels of generated images are drawn from; and each class's images, where balanced
        self.pool, self.members = self.labels, None
        if balanced:
            self.pool = self.labels.unique()
            self.members = [(self.labels == label).nonzero().flatten() for label in self.pool]

    def of_iteration(self, iteration: int) -> dict[str, torch.Tensor]:
        """All numbers of `d_steps` steps of D and the step of G, by name, on the CPU.

        The first dimension is the step's: `d_steps` for what belongs to real images, one more for
        what belongs to generated ones.
        """
        count, seed, steps = self.batch_size, self.seed, range(self.d_steps)
        first = iteration * self.d_steps
        in_d, in_all = (self.d_steps, count), (self.d_steps + 1, count)

        def stream(purpose: str) -> torch.Generator:
            return generator(seed, purpose, iteration)

        rows = [self._rows(first + turn) for turn in steps]
        coins = [flip_coins(count, first + turn, seed) & self.flip for turn in steps]
        shown = torch.randint(len(self.pool), in_all, generator=stream("labels"))
        drawn = {
            "rows": torch.stack(rows),
            "mirrored": torch.stack(coins),
            "latents": torch.randn(*in_all, self.z_dim, generator=stream("latents")),
            "labels": self.pool[shown],
        }
        for kind, shape in (("real", in_all if self.paired else in_d), ("fake", in_all)):
            numbers = self.augmentation.draw(shape, self.image_size, stream(f"augment {kind}"))
            drawn |= {f"{kind} {policy}": values for policy, values in numbers.items()}
        for name, draw in self.terms.items():
            numbers = draw(in_all, self.image_size, stream(f"term {name}"))
            drawn |= {f"{name}: {key}": values for key, values in numbers.items()}
        return drawn

    def _rows(self, step: int) -> torch.Tensor:
        """The training images of D's step number `step`, int64 [B]."""
        if self.members is None:
            return batch_indices(len(self.labels), self.batch_size, step, self.seed)
        return balanced_indices(self.members, self.batch_size, step, self.seed)

    def by_step(self, drawn: dict[str, torch.Tensor]) -> list[StepDraws]:
        """The result of `of_iteration` as the draws of each step; G's is the last."""

        def augmenting(kind: str, turn: int) -> dict[str, torch.Tensor]:
            return {name: drawn[f"{kind} {name}"][turn] for name in self.augmentation.policies}

        def generating(turn: int) -> dict:
            return {
                "latents": drawn["latents"][turn],
                "labels": drawn["labels"][turn],
                "fake": augmenting("fake", turn),
                "own": {name: below(name, turn) for name in self.terms},
            }

        def below(name: str, turn: int) -> dict[str, torch.Tensor]:
            head = f"{name}: "
            return {k.removeprefix(head): v[turn] for k, v in drawn.items() if k.startswith(head)}

        in_d_steps = [
            StepDraws(
                **generating(turn),
                rows=drawn["rows"][turn],
                mirrored=drawn["mirrored"][turn],
                real=augmenting("real", turn),
            )
            for turn in range(self.d_steps)
        ]
        last = self.d_steps
        real = augmenting("real", last) if self.paired else None
        return [*in_d_steps, StepDraws(**generating(last), real=real)]
