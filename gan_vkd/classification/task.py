"""Training a classifier: what one iteration does, what is measured, and the state that is saved."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd import processes
from gan_vkd.classification.accuracy import accuracy
from gan_vkd.classification.augment import Augmentation
from gan_vkd.classification.draws import Draws, draws_itself
from gan_vkd.classification.optimiser import StudentPlayer
from gan_vkd.classification.share import ClassifierShare
from gan_vkd.config.classification import ClassificationRecipe
from gan_vkd.config.registry import METHODS
from gan_vkd.data.images import ImageSet, to_float
from gan_vkd.data.subsets import TrainingData
from gan_vkd.device import autocast
from gan_vkd.distill.classifiers import Classifier, write_classifier
from gan_vkd.distill.frozen import TeacherMark
from gan_vkd.distill.methods.kd import divergence
from gan_vkd.distill.methods.method import Method, Seen, Setting
from gan_vkd.distill.outputs import Outputs, changed
from gan_vkd.engine.draws import to_device
from gan_vkd.engine.health import Limit
from gan_vkd.engine.replay import Replay
from gan_vkd.engine.task import Point, Schedule
from gan_vkd.errors import GanVkdError
from gan_vkd.progress import Reporter
from gan_vkd.randomness import seed_for

FILE_NAME = "network.safetensors"
RESULT_NAME = "result.json"  # accuracy of the last and of the best epoch
UNTAUGHT = Outputs(None, torch.zeros(2, 1))


class ClassificationTask:
    """A student, a method of distillation, an optimiser, and a frozen teacher.

    Everything random is a function of (seed, iteration), so `iterate(i)` depends on nothing but
    the state and i.

    Args:
        recipe: the settings, with rate and precision resolved.
        data: the images, on `device` or on the CPU.
        student: on the CPU; trained in place.
        teacher: images -1 to 1 → `Outputs` without gradient, on `device`; None: labels alone.
        device: where to train.

    Raises:
        GanVkdError: method, student and teacher do not go together.
    """

    artefact = FILE_NAME
    shown: ClassVar = {"loss": "loss", "method": "method", "batch_top1": "top-1", "rate": "rate"}
    limits: tuple[Limit, ...] = ()
    remedy = "a lower learning rate (--set training.lr=...) or another --seed"

    def __init__(
        self,
        recipe: ClassificationRecipe,
        data: TrainingData,
        student: Classifier,
        teacher: nn.Module | None,
        device: torch.device,
    ):
        self.recipe, self.data, self.teacher, self.device = recipe, data, teacher, device
        self.mark = TeacherMark(recipe.teacher.spec, teacher)
        training = recipe.training
        self.per_epoch = math.ceil(len(data.train) / training.batch_size)
        evaluated = training.eval_epochs * self.per_epoch
        self.schedule = Schedule(
            iterations=training.epochs * self.per_epoch,
            log_every=training.log_every,
            sample_every=0,
            checkpoint_every=training.checkpoint_every,
            eval_every=evaluated if data.held_out is not None or data.validation else 0,
            eval_last=True,
        )
        self.images_per_iteration = training.batch_size

        # 1. The student, and the method, a function of the seed.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(training.seed, "method"))
            self.method = self._make_method(student)
        self.student = student.to(device, memory_format=torch.channels_last).train()
        self.method.to(device).train()
        self.player = StudentPlayer({"student": student, "method": self.method}, training)
        self.stochastic = draws_itself(student)

        # 2. In several processes each network sees a share, and answers for the whole batch.
        self.share = ClassifierShare(training.batch_size)
        self.learn = self.share.student(self.student, self._learnt)
        self.teach = self.share.teacher(self._taught)

        # 3. How images are changed, what an iteration draws, and an iteration that can be replayed.
        self.augmentation = Augmentation(
            recipe.data.augment, recipe.data.flip, training.mixup, training.cutmix
        )
        self.draws = Draws(recipe, data.train, self.augmentation, self.per_epoch)
        replays = device.type == "cuda" and processes.size() == 1
        replays = replays and self.method.static and not self.stochastic
        self.replay = Replay(self._compute, device, enabled=replays)

    def _make_method(self, student: Classifier) -> Method:
        settings, name = self.recipe.distill, self.recipe.distill.method
        if self.teacher is None and (name != "none" or settings.kd_weight):
            raise GanVkdError(f"--method {name}: needs a teacher: --teacher SPEC, or --method none")
        if self.teacher is not None and name == "none" and not settings.kd_weight:
            raise GanVkdError("--method none: learns from labels alone: leave --teacher out")
        shown = torch.zeros(2, 3, *self.data.train.images.shape[-2:])
        was_training = student.training
        with torch.no_grad():
            ours = student.eval()(shown)
            theirs = UNTAUGHT if self.teacher is None else self._taught(shown.to(self.device))
        student.train(was_training)
        if settings.kd_weight and theirs.logits is None:
            raise GanVkdError(
                "distill.kd_weight: the teacher has no logits of these classes: train one with "
                "--method none, then --teacher file:PATH, or set it to 0"
            )
        setting = Setting(ours, _on_cpu(theirs), self.data.train.labels.cpu())
        return METHODS[name](settings, setting)

    def prepare(self, reporter: Reporter) -> None:
        """Let the method take what it needs to know of the data; before a new run's iteration 0."""

        def outputs() -> Iterator[Outputs]:
            parts = torch.arange(len(self.data.train)).split(self.recipe.training.batch_size)
            for rows in reporter.track(parts, "Teacher features", len(parts)):
                yield self._taught(self.data.train.batch(rows, self.device)[0])

        self.method.prepare(outputs)
        processes.copy_first_(x for x in self.method.buffers() if x.is_floating_point())

    def iterate(self, iteration: int, measure: bool = False) -> dict[str, float]:
        """One step of the student on one batch.

        Args:
            iteration: its number, from 0.
            measure: return the loss, its parts, the batch's top-1, the rate and gradient's norm.
        """
        drawn = self.draws(iteration)
        rows = drawn["rows"].to(self.data.train.images.device)
        inputs = to_device(drawn, self.device) | {
            "images": self.data.train.images[rows].to(self.device),
            "labels": self.data.train.labels[rows].to(self.device),
        }
        if self.stochastic:  # the networks' own draws
            own = processes.rank()  # other images, so other draws
            torch.manual_seed(seed_for(self.recipe.training.seed, "network", iteration) + own)
        scalars = self.replay("step", inputs, measure)
        if not measure:
            return {}
        read = torch.stack(list(scalars.values())).tolist()
        return dict(zip(scalars, read, strict=True))

    def _compute(
        self, inputs: Mapping[str, torch.Tensor], measure: bool
    ) -> dict[str, torch.Tensor]:
        """All of an iteration that happens on the device; what is measured, in fp32."""
        self.player.set_rate(inputs["rate"])
        images = self.augmentation.apply(to_float(inputs["images"]), inputs)
        images = self.augmentation.mix(images, inputs)
        images = images[self.share.own]
        taught = UNTAUGHT if self.teacher is None else self.teach(images)
        with autocast(self.device, self.recipe.training.precision):
            learnt = self.learn(images)
        with torch.autocast(self.device.type, enabled=False):
            loss, scalars = self._loss(learnt, taught, inputs)
        self.player.descend(loss)
        if not (measure or self.replay.enabled):
            return {}
        right = learnt.logits.argmax(dim=1) == inputs["labels"]
        scalars |= {
            "batch_top1": right.float().mean(),
            "rate": inputs["rate"],
            "gradient": self.player.gradient_norm(),
        }
        return {name: value.detach().float() for name, value in scalars.items()}

    def _learnt(self, images: torch.Tensor) -> Outputs:
        found = self.student(images)  # a second head learns by the KL divergence, or from labels
        return found if self.recipe.distill.kd_weight else found.of_both_heads()

    def _taught(self, images: torch.Tensor) -> Outputs:
        with torch.no_grad(), autocast(self.device, self.recipe.teacher.precision):
            return self.teacher(images)

    def _loss(
        self, learnt: Outputs, taught: Outputs, inputs: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Cross-entropy, KL divergence and the method, weighted and added; and each of them."""
        settings, ramp = self.recipe.distill, inputs["ramp"]
        seen = Seen(learnt, taught, inputs["labels"], inputs["rows"], inputs["key"])
        parts = {"cross_entropy": self._cross_entropy(learnt.logits, inputs)}
        loss = settings.ce_weight * parts["cross_entropy"]
        if settings.kd_weight:
            parts["kl_divergence"] = divergence(seen, settings.temperature)
            loss = loss + settings.kd_weight * parts["kl_divergence"]
        if settings.weight:
            parts["method"] = self.method(seen)
            loss = loss + settings.weight * ramp * parts["method"]
        return loss, {"loss": loss, **parts}

    def _cross_entropy(
        self, logits: torch.Tensor, inputs: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        smoothing, labels = self.recipe.training.label_smoothing, inputs["labels"]
        own = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        if not self.augmentation.mixes:
            return own
        other = F.cross_entropy(logits.float(), labels.flip(0), label_smoothing=smoothing)
        return torch.lerp(other, own, inputs["share"][0])

    def probe(self) -> dict[str, float]:
        """Nothing beside training."""
        return {}

    def picture(self, iteration: int) -> None:
        """A classifier has no looks."""

    def point(self, iteration: int) -> Point:
        """Accuracy on held-out images, and on the validation images where there are any."""
        held_out, validation = self.data.held_out, self.data.validation
        figures = {} if held_out is None else self._accuracy(held_out)
        chosen = figures
        if validation is not None:
            chosen = self._accuracy(validation)
            figures |= {f"validation_{name}": value for name, value in chosen.items()}
        return Point(
            figures | {"selection_error": 1 - chosen["top1"]},
            {"held_out": 0 if held_out is None else len(held_out), "selected_on": self.selected_on},
            "held out",
            "selection_error",
            lambda path: self.export(iteration, path),
        )

    @property
    def selected_on(self) -> str:
        """By which images the best epoch is chosen, in words."""
        if self.data.validation is not None:
            return "validation images"
        if self.data.held_out is None:
            return "nothing: no held-out images"
        return f"{self.data.held_out_origin} (a selection on the evaluated images)"

    def _accuracy(self, images: ImageSet) -> dict[str, float]:
        return accuracy(self.student, images, self.device, self.recipe.training.precision)

    def export(self, iteration: int, path: Path) -> None:
        """Write the student; the file serves as --teacher file:PATH."""
        recipe = self.recipe
        card = {
            "dataset": Path(recipe.data.dataset).name,
            "subset": f"{recipe.data.subset:g}",
            "method": recipe.distill.method,
            "teacher": Path(recipe.teacher.spec).name,
            "epoch": f"{iteration / self.per_epoch:g}",
            "seed": str(recipe.training.seed),
        }
        write_classifier(self.student, path, card)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that changes in training, as flat named tensors on the CPU; the teacher's SHA-256."""
        state = {name: tensor.detach().cpu() for name, tensor in self.player.state_dict().items()}
        return self.mark.put(state)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` gave; training goes on with the same bits.

        Raises:
            GanVkdError: the teacher was another network.
        """
        self.player.load_state_dict(self.mark.taken(state))


def _on_cpu(outputs: Outputs) -> Outputs:
    fields = (getattr(outputs, name) for name in Outputs.__dataclass_fields__)
    return Outputs(*(changed(field, lambda tensor: tensor.float().cpu()) for field in fields))
