"""The two networks at play: what one iteration does, and the state that a checkpoint holds."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from gan_vkd.config import Recipe
from gan_vkd.data.augment import diff_augment
from gan_vkd.data.batches import batch_indices, flip_coins, mirror
from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import TrainingData
from gan_vkd.device import autocast
from gan_vkd.distill.cache import FeatureCache
from gan_vkd.distill.normalise import WhitenDataset
from gan_vkd.distill.teachers import Teacher
from gan_vkd.distill.vkd import VkDLoss
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.biggan import Discriminator, Generator
from gan_vkd.gan.ema import average_of, update_average
from gan_vkd.gan.losses import hinge_discriminator, hinge_generator
from gan_vkd.progress import Reporter
from gan_vkd.randomness import generator, seed_for

PROBE = 256  # images on which overfitting is measured, of each kind


class TeacherView:
    """What the trainer knows of the teacher: it, and its features of images that stay.

    Args:
        teacher: on the training device.
        data: on the training device, or on the CPU.
        device: the training device.
        precision: in which the teacher runs, whoever asks: `fp32` or `bf16`.
    """

    def __init__(self, teacher: Teacher, data: TrainingData, device: torch.device, precision: str):
        self.teacher, self.device, self.precision = teacher, device, precision
        self.train = FeatureCache(self.see, teacher.dim, data.train.images, device)
        self.held_out = None
        if data.held_out is not None:
            self.held_out = FeatureCache(self.see, teacher.dim, data.held_out.images, device)

    def see(self, images: torch.Tensor) -> torch.Tensor:
        """Images [B, 3, S, S], -1 to 1 → the teacher's features [B, dt]."""
        with autocast(self.device, self.precision):
            return self.teacher(images)

    def fit_whitening(self, rank: int, flip: bool, reporter: Reporter) -> WhitenDataset:
        """`WhitenDataset` over the training images, and their mirror images where they are used."""
        count = len(self.train.images)

        def batches() -> Iterator[torch.Tensor]:
            parts = torch.arange(count).split(64)
            for part in reporter.track(parts, "Teacher features", len(parts)):
                for mirrored in (False, True) if flip else (False,):
                    yield self.train(part, torch.full((len(part),), mirrored))

        return WhitenDataset.fit(batches(), rank)


class Trainer:
    """A generator, its average, a discriminator, the distillation loss and two optimisers.

    Everything random is a function of (seed, iteration), so `iterate(i)` depends on nothing but
    the state and i.

    Args:
        recipe: the settings, `training.precision` resolved.
        data: the images, on `device` or on the CPU.
        view: the teacher, or None for plain BigGAN.
        device: where to train.
        whitening: fitted statistics for `whiten-dataset`; None leaves them to
            `load_state_dict`.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        view: TeacherView | None,
        device: torch.device,
        whitening: WhitenDataset | None = None,
    ):
        self.recipe, self.data, self.view, self.device = recipe, data, view, device
        num_classes = len(data.train.class_names)
        shape = {
            "num_classes": num_classes,
            "image_size": recipe.data.image_size,
            "channels": recipe.gan.channels,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(recipe.training.seed, "networks"))
            self.generator = Generator(
                **shape,
                z_dim=recipe.gan.z_dim,
                widths=recipe.gan.generator_widths,
                spectral_norm=recipe.gan.generator_spectral_norm,
            )
            self.discriminator = Discriminator(**shape, widths=recipe.gan.discriminator_widths)
            self.loss = self._make_loss(whitening)
        for network in (self.generator, self.discriminator):
            network.to(device, memory_format=torch.channels_last)
        self.average = average_of(self.generator)
        judges = list(self.discriminator.parameters())
        if self.loss is not None:
            self.loss.to(device)
            judges += self.loss.parameters()
        betas = (0.0, 0.999)
        self.d_optimiser = torch.optim.Adam(judges, recipe.training.d_lr, betas)
        self.g_optimiser = torch.optim.Adam(
            self.generator.parameters(), recipe.training.g_lr, betas
        )

    def _make_loss(self, whitening: WhitenDataset | None) -> VkDLoss | None:
        if self.view is None:
            return None
        distill, dim = self.recipe.distill, self.view.teacher.dim
        normalise = distill.normalise
        if normalise == "whiten-dataset":
            normalise = whitening or WhitenDataset(dim, self.whitening_rank())
        try:
            return VkDLoss(
                self.discriminator.feature_dim, dim, distill.projection, normalise, distill.distance
            )
        except ValueError as error:
            raise GanVkdError(f"--projection {distill.projection}: {error}") from None

    def whitening_rank(self) -> int:
        """The recipe's rank, by default min(ds, dt / 8): the targets can then be reached."""
        by_default = min(self.discriminator.feature_dim, self.view.teacher.dim // 8)
        return self.recipe.distill.rank or by_default

    def iterate(self, iteration: int, measure: bool = False) -> dict[str, float]:
        """One iteration: `d_steps` steps of D, one of G, one of the average.

        Args:
            iteration: its number, from 0.
            measure: return the terms of the last D step and of the G step, the norms of the two
                networks' gradients, the gradient ratio of distillation to the adversarial loss at
                h, and the `spread` of the generated images (see `_spread`).
        """
        d_steps = self.recipe.training.d_steps
        for turn in range(d_steps):
            d_terms = self._discriminator_step(iteration, turn, measure and turn == d_steps - 1)
        g_terms = self._generator_step(iteration, measure)
        settings = self.recipe.training
        started = iteration >= settings.ema_start
        update_average(self.average, self.generator, settings.ema_decay if started else 0.0)
        if not measure:
            return {}
        return {name: value.item() for name, value in {**d_terms, **g_terms}.items()}

    def _autocast(self) -> torch.autocast:
        return autocast(self.device, self.recipe.training.precision)

    def _generate(self, iteration: int, turn: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (-1 to 1) and labels of one batch; labels follow the training data."""
        training, labels = self.recipe.training, self.data.train.labels
        draws = generator(training.seed, "latents", iteration, turn)
        z = torch.randn(training.batch_size, self.recipe.gan.z_dim, generator=draws)
        rows = torch.randint(len(labels), (training.batch_size,), generator=draws)
        drawn = labels[rows.to(labels.device)].to(self.device)
        return self.generator(z.to(self.device), drawn).float(), drawn

    def _augment(self, images: torch.Tensor, *key: int | str) -> torch.Tensor:
        draws = generator(self.recipe.training.seed, "augment", *key)
        return diff_augment(images, self.recipe.data.policies, draws)

    def _discriminator_step(
        self, iteration: int, turn: int, measure: bool
    ) -> dict[str, torch.Tensor]:
        training = self.recipe.training
        step = iteration * training.d_steps + turn
        rows = batch_indices(len(self.data.train), training.batch_size, step, training.seed)
        coins = torch.zeros(len(rows), dtype=torch.bool)
        if self.recipe.data.flip:
            coins = flip_coins(len(rows), step, training.seed)
        real, real_labels = self.data.train.batch(rows, self.device)
        real = mirror(real, coins)
        with self._autocast():
            with torch.no_grad():
                fake, fake_labels = self._generate(iteration, turn)
            shown_real = self._augment(real, iteration, turn, "real")
            shown_fake = self._augment(fake, iteration, turn, "fake")
            logits, h = self.discriminator(
                torch.cat([shown_real, shown_fake]), torch.cat([real_labels, fake_labels])
            )
        d_real, d_fake = hinge_discriminator(*logits.chunk(2))
        terms = {"d_real": d_real, "d_fake": d_fake}
        loss = d_real + d_fake
        if self.loss is not None:
            h_real, h_fake = h.chunk(2)
            z_real = self._paired(self.view.train(rows, coins))
            terms["distill_real"] = self.loss(h_real, z_real)
            distillation = terms["distill_real"]
            learn_from_fake = step % self.recipe.distill.generated_every == 0
            if learn_from_fake or measure:
                z_fake = self._paired(self.view.see(fake))
                terms["distill_fake"] = self.loss(h_fake, z_fake)
                terms["target_norm_generated"] = _mean_norm(self.loss.targets(z_fake))
            if learn_from_fake:
                distillation = distillation + terms["distill_fake"]
            distillation = self.recipe.distill.weight * distillation
            if measure:
                terms["gradient_ratio"] = _gradient_ratio(distillation, loss, h)
            loss = loss + distillation
        self.d_optimiser.zero_grad()
        loss.backward()
        if measure:
            terms["d_gradient"] = _gradient_norm(self.d_optimiser)
            terms["spread"] = _spread(fake) / _spread(real).clamp_min(1e-12)
        self.d_optimiser.step()
        return terms

    def _paired(self, features: torch.Tensor) -> torch.Tensor:
        """Teacher features [B, dt] in the images' order; in the control, each is its neighbour's.

        The control keeps the targets' distribution and the pull on D, and takes away what they
        say of the image: what it gains is not the teacher's knowledge.
        """
        return features.roll(1, dims=0) if self.recipe.distill.shuffled else features

    def _generator_step(self, iteration: int, measure: bool) -> dict[str, torch.Tensor]:
        turn = self.recipe.training.d_steps
        self.discriminator.requires_grad_(False)
        with self._autocast():
            fake, labels = self._generate(iteration, turn)
            logits, _ = self.discriminator(self._augment(fake, iteration, turn), labels)
            loss = hinge_generator(logits)
        self.g_optimiser.zero_grad()
        loss.backward()
        terms = {"g": loss}
        if measure:
            terms["g_gradient"] = _gradient_norm(self.g_optimiser)
        self.g_optimiser.step()
        self.discriminator.requires_grad_(True)
        return terms

    @torch.no_grad()
    def probe(self) -> dict[str, float]:
        """How D treats images it has trained on, and held-out ones: the overfitting.

        Returns:
            For each kind: D's mean logit and the logits' standard deviation (near 0 where D is
            dead and tells no image from another), its prediction's fit to the teacher (R²: 1
            perfect, 0 no better than nothing), the targets' mean norm; and the difference of the
            mean logits.
        """
        view, data = self.view, self.data
        with _eval_mode(self.discriminator), self._autocast():
            values = self._probe_kind("train", data.train, view and view.train)
            if data.held_out is not None:
                values |= self._probe_kind("held_out", data.held_out, view and view.held_out)
                values["overfitting"] = values["logit_train"] - values["logit_held_out"]
        return values

    def _probe_kind(
        self, kind: str, images: ImageSet, features: FeatureCache | None
    ) -> dict[str, float]:
        order = torch.randperm(len(images), generator=generator("probe", kind))
        logits, errors, targets = [], [], []
        for rows in order[:PROBE].split(self.recipe.training.batch_size):
            if len(rows) < 2:  # nothing to centre
                continue
            batch_logits, h = self.discriminator(*images.batch(rows, self.device))
            logits.append(batch_logits)
            if self.loss is not None:
                targets.append(self.loss.targets(features(rows, torch.zeros(len(rows)).bool())))
                errors.append(self.loss.predictions(h) - targets[-1])
        logit = torch.cat(logits)
        values = {f"logit_{kind}": logit.mean().item(), f"logit_std_{kind}": logit.std().item()}
        if self.loss is not None:
            total = torch.cat(targets).square().sum()
            missed = torch.cat(errors).square().sum()
            values[f"fit_{kind}"] = (1 - missed / total.clamp_min(1e-12)).item()
            values[f"target_norm_{kind}"] = _mean_norm(torch.cat(targets)).item()
        return values

    def _parts(self) -> dict[str, nn.Module]:
        parts = {
            "generator": self.generator,
            "average": self.average,
            "discriminator": self.discriminator,
        }
        return parts if self.loss is None else {**parts, "loss": self.loss}

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that changes in training, as flat named tensors on the CPU."""
        state = {
            f"{part}.{name}": tensor
            for part, module in self._parts().items()
            for name, tensor in module.state_dict().items()
        }
        for name, optimiser in self._optimisers().items():
            for index, moments in optimiser.state_dict()["state"].items():
                for moment, tensor in moments.items():
                    state[f"{name}.{index}.{moment}"] = tensor
        return {name: tensor.detach().cpu() for name, tensor in state.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` gave; training goes on with the same bits."""
        for part, module in self._parts().items():
            module.load_state_dict(_below(state, part))
        for name, optimiser in self._optimisers().items():
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key, tensor in _below(state, name).items():
                index, moment = key.split(".")
                moments.setdefault(int(index), {})[moment] = tensor
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": moments, "param_groups": groups})

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"d_optimiser": self.d_optimiser, "g_optimiser": self.g_optimiser}


def _below(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    head = f"{prefix}."
    return {name.removeprefix(head): t for name, t in state.items() if name.startswith(head)}


@contextlib.contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    module.eval()
    try:
        yield
    finally:
        module.train()


def _spread(images: torch.Tensor) -> torch.Tensor:
    """How unlike each other images [B, 3, S, S] are: each pixel's standard deviation, averaged."""
    return images.std(dim=0).mean()


def _gradient_norm(optimiser: torch.optim.Optimizer) -> torch.Tensor:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def _mean_norm(targets: torch.Tensor) -> torch.Tensor:
    return targets.norm(dim=1).mean()


def _gradient_ratio(
    distillation: torch.Tensor, adversarial: torch.Tensor, h: torch.Tensor
) -> torch.Tensor:
    """‖∂(λ · L_distill)/∂h‖ / ‖∂L_adv/∂h‖, which carries over between teachers and widths."""
    ours, theirs = (
        torch.autograd.grad(term, h, retain_graph=True)[0].norm()
        for term in (distillation, adversarial)
    )
    return ours / theirs.clamp_min(1e-12)
