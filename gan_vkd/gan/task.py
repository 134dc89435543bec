"""Training a GAN: one iteration, its measurements, and the state that is saved."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from PIL import Image
from torch import nn

from gan_vkd import processes
from gan_vkd.config.core import Recipe
from gan_vkd.config.registry import LOSSES
from gan_vkd.config.schedule import Cosine, value_at
from gan_vkd.data.batches import mirror
from gan_vkd.data.images import to_float
from gan_vkd.data.subsets import TrainingData
from gan_vkd.device import autocast
from gan_vkd.distill.frozen import TeacherMark
from gan_vkd.distill.view import TeacherView
from gan_vkd.engine.draws import to_device
from gan_vkd.engine.health import Limit
from gan_vkd.engine.players import Player, below
from gan_vkd.engine.replay import Replay
from gan_vkd.engine.task import Point, Schedule
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.cast import networks_of, terms_of
from gan_vkd.gan.compiled import compiled
from gan_vkd.gan.draws import Draws, StepDraws
from gan_vkd.gan.ema import average_of, decay_at, update_average
from gan_vkd.gan.exported import FILE_NAME, ExportedGenerator, export_generator, save_generator
from gan_vkd.gan.probes import Probes, spread
from gan_vkd.gan.sampling import class_grid
from gan_vkd.gan.share import GanShare
from gan_vkd.gan.steps import Game, Real, discriminator_loss, generator_loss
from gan_vkd.progress import Reporter
from gan_vkd.randomness import seed_for

BETA1 = 0.0  # of both Adams


class Judge(Protocol):
    """Measures an exported generator while it is trained."""

    def point(self, exported: ExportedGenerator) -> Point:
        """Its metrics."""


class GanTask:
    """A generator, its average, a discriminator, terms, and two optimisers.

    Everything random is a function of (seed, iteration), so `iterate(i)` depends on nothing but
    the state and i.

    Args:
        recipe: the settings, `training.precision` resolved.
        data: the images, on `device` or on the CPU.
        view: the teacher, or None for plain BigGAN.
        device: where to train.
        judge: measures samples for the curve, or None.
    """

    artefact = FILE_NAME
    shown: ClassVar = {
        "d_real": "D real",
        "d_fake": "fake",
        "d": "D",
        "distill_real": "distill",
        "g": "G",
        "overfitting": "overfit",
    }
    limits = (
        Limit("logit_std_train", 1e-5, "the discriminator is dead"),  # tells no image from another
        Limit("spread", 0.01, "the generator has collapsed"),  # of what real images vary
    )
    remedy = "lower learning rates (--set training.d_lr=...) or another --seed"

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        view: TeacherView | None,
        device: torch.device,
        judge: Judge | None = None,
    ):
        self.recipe, self.data, self.view, self.device = recipe, data, view, device
        self.judge, self.mark = judge, TeacherMark(recipe.teacher.spec, view and view.teacher)
        training = recipe.training
        self.schedule = Schedule(
            *(training.iterations, training.log_every, training.sample_every),
            *(training.checkpoint_every, 0 if judge is None else training.eval_every),
        )
        self.images_per_iteration = training.batch_size * training.d_steps
        self._exported: tuple[int, ExportedGenerator] | None = None

        # 1. The networks and the terms, a function of the seed.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(training.seed, "networks"))
            networks = networks_of(recipe, data.train)
            self.generator, self.discriminator = networks
            teacher_dim = 0 if view is None else view.teacher.dim
            augmentation = Augmentation(recipe.data.policies)
            made = terms_of(
                *(recipe, self.discriminator, augmentation),
                *(teacher_dim, data.train.class_names, len(data.train)),
            )
            self.terms = nn.ModuleDict(made)
        for network in networks:
            network.to(device, memory_format=torch.channels_last)
        self.terms.to(device)
        self.average = average_of(self.generator)
        self.share = GanShare(training.batch_size)

        # 2. Who trains what.
        judges = {"discriminator": self.discriminator, "terms": self.terms}
        self.d_player = Player(judges, *self._step(training.d_lr, 0))
        self.g_player = Player({"generator": self.generator}, *self._step(training.g_lr, 0))

        # 3. The rules, and the random numbers.
        adversarial = LOSSES[recipe.gan.loss]()
        self.game = Game(
            generator=self.share.generator(self.generator),
            discriminator=self.share.discriminator(self.discriminator),
            adversarial=adversarial,
            terms=self.terms,
            augment=augmentation,
            teacher=view and self.share.teacher(view.see),
            together=self.share.together,
        )
        if training.compile:
            self.game = compiled(self.game, range(training.d_steps), device)
        self.draws = Draws(
            data.train.labels,
            image_size=recipe.data.image_size,
            batch_size=training.batch_size,
            d_steps=training.d_steps,
            z_dim=recipe.gan.z_dim,
            flip=recipe.data.flip,
            augmentation=augmentation,
            seed=training.seed,
            terms={name: term.draw for name, term in self.terms.items()},
            paired=adversarial.paired,
            balanced=recipe.data.balance == "classes",
        )
        static = not training.changes and all(term.static for term in self.terms.values())
        static = static and processes.size() == 1
        self.replay = Replay(self._compute, device, enabled=device.type == "cuda" and static)
        self.probes = Probes(data, view, training.batch_size, device)

    def prepare(self, reporter: Reporter) -> None:
        """Give the terms the statistics of the data; before iteration 0 of a new run."""
        view, flip = self.view, self.recipe.data.flip
        features = labels = None
        if view is not None:
            features = partial(view.training_features, flip, reporter)
            rows = torch.cat([rows for rows, _ in view.training_parts(flip)])
            labels = self.data.train.labels.cpu()[rows]
        with processes.failing_together():
            for term in self.terms.values():
                term.prepare(features, labels)
        processes.copy_first_(self.terms.buffers())

    def iterate(self, iteration: int, measure: bool = False) -> dict[str, float]:
        """One iteration: `d_steps` steps of D, one of G, one of the average.

        Args:
            iteration: its number, from 0.
            measure: return the parts of the last D step's and of the G step's loss, the norms of
                the two networks' gradients, and the generated images' `spread` over the real ones'.
        """
        drawn = self.share.of_steps(self.draws.of_iteration(iteration))
        inputs = {**to_device(drawn, self.device), **self._shown(drawn)}
        self.d_player.tune(*self._step(self.recipe.training.d_lr, iteration))
        self.g_player.tune(*self._step(self.recipe.training.g_lr, iteration))
        scalars = self.replay(self._kind(iteration), inputs, iteration, measure)
        if not measure:
            return {}
        read = torch.stack(list(scalars.values())).tolist()
        return dict(zip(scalars, read, strict=True))

    def _shown(self, drawn: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The training images of an iteration, unmirrored, and the teacher's features of them."""
        train, rows = self.data.train, drawn["rows"]
        places = rows.to(train.images.device)
        shown = {"images": train.images[places], "real labels": train.labels[places]}
        if self.view is not None:
            features = self.view.train(rows.flatten(), drawn["mirrored"].flatten())
            shown["teacher"] = self.share.together(features).unflatten(0, (len(rows), -1))
        return {name: tensor.to(self.device) for name, tensor in shown.items()}

    def _kind(self, iteration: int) -> Hashable:
        """All that decides which operations an iteration has."""
        first, count = iteration * self.draws.d_steps, self.draws.d_steps
        phases = tuple(
            term.phase(step, iteration)
            for step in range(first, first + count)
            for term in self.terms.values()
        )
        return phases, self._averaging(iteration)

    def _averaging(self, iteration: int) -> bool:
        return iteration >= self.recipe.training.ema_start

    def _step(self, lr: float | Cosine, iteration: int) -> tuple[float, tuple[float, float]]:
        """Adam's rate and decays in an iteration."""
        return value_at(lr, iteration), (BETA1, value_at(self.recipe.training.beta2, iteration))

    def _compute(
        self, inputs: Mapping[str, torch.Tensor], iteration: int, measure: bool
    ) -> dict[str, torch.Tensor]:
        """The part of an iteration on the device; returns its measurements in fp32."""
        settings = self.recipe.training
        *d_draws, g_draws = self.draws.by_step(inputs)
        for turn, draws in enumerate(d_draws):
            step = iteration * settings.d_steps + turn
            real = _real(inputs, turn, draws.mirrored)
            with self._autocast():
                loss, scalars, seen = discriminator_loss(
                    self.game, real, self._paired(draws, real), step, iteration
                )
            self.d_player.descend(loss)
        with self._autocast():
            rivals = (real,) if self.game.adversarial.paired else ()
            loss, g_scalars = generator_loss(self.game, self._paired(g_draws, real), *rivals)
        self.g_player.descend(loss)
        decay = decay_at(settings, iteration) if self._averaging(iteration) else 0.0
        update_average(self.average, self.generator, decay)
        if not (measure or self.replay.enabled):
            return {}
        fake, shown = (self.share.together(images) for images in (seen.fake, seen.real))
        scalars |= {
            "d_gradient": self.d_player.gradient_norm(),
            "spread": spread(fake) / spread(shown).clamp_min(1e-12),
            **g_scalars,
            "g_gradient": self.g_player.gradient_norm(),
        }
        return {name: value.detach().float() for name, value in scalars.items()}

    def _paired(self, draws: StepDraws, real: Real) -> StepDraws:
        """The draws, with the real images' classes to generate where the loss compares pairs."""
        return replace(draws, labels=real.labels) if self.game.adversarial.paired else draws

    def _autocast(self) -> torch.autocast:
        return autocast(self.device, self.recipe.training.precision)

    def probe(self) -> dict[str, float]:
        """How D treats images it has trained on, and held-out ones (see `Probes.measure`)."""
        with self._autocast():
            return self.probes.measure(self.discriminator, self.terms)

    def exported(self, iteration: int) -> ExportedGenerator:
        """The averaged generator as it is handed out; made once an iteration."""
        if self._exported is None or self._exported[0] != iteration:
            train, data = self.data.train, self.recipe.data
            card = {"dataset": data.dataset, "iteration": str(iteration), "balance": data.balance}
            made = export_generator(self.average, train.class_names, train.counts, card)
            self._exported = (iteration, made)
        return self._exported[1]

    def picture(self, iteration: int) -> Image.Image:
        """A grid of samples, one row per class; of more than 100 classes always the same 100."""
        return class_grid(self.exported(iteration), columns=8)

    def point(self, iteration: int) -> Point | None:
        """Metrics of samples."""
        return self.judge and self.judge.point(self.exported(iteration))

    def export(self, iteration: int, path: Path) -> None:
        """Write the exported generator."""
        save_generator(self.exported(iteration), path)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that changes in training, as flat named tensors on the CPU; the teacher's SHA-256."""
        state = {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for name, player in self._players().items():
            state |= {f"{name}.{key}": tensor for key, tensor in player.state_dict().items()}
        return self.mark.put({name: tensor.detach().cpu() for name, tensor in state.items()})

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the result of `state_dict`; training continues with the same bits.

        Raises:
            GanVkdError: the teacher was another network.
        """
        state, self._exported = self.mark.taken(state), None
        self.average.load_state_dict(below(state, "average"))
        for name, player in self._players().items():
            player.load_state_dict(below(state, name))

    def _players(self) -> dict[str, Player]:
        return {"d": self.d_player, "g": self.g_player}


def _real(inputs: Mapping[str, torch.Tensor], turn: int, mirrored: torch.Tensor) -> Real:
    """The training images of D's step number `turn` of an iteration."""
    teacher = inputs["teacher"][turn] if "teacher" in inputs else None
    images = mirror(to_float(inputs["images"][turn]), mirrored)
    return Real(images, inputs["real labels"][turn], teacher)
