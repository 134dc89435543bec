"""The cost of distillation in a training step (V_kD supplement, Table 2)."""

import math
from collections.abc import Callable

import timm
import torch
import torch.nn.functional as F
from torch import nn

from gan_vkd.bench.measure import interleaved, peak_bytes, standing_bytes
from gan_vkd.bench.table import machine, markdown
from gan_vkd.bench.training import make_task
from gan_vkd.config.layers import preset_layer, resolve
from gan_vkd.device import autocast, resolve_precision
from gan_vkd.distill.methods.comparisons import CrdLoss, IckdLoss, RkdLoss, VidLoss
from gan_vkd.distill.methods.vkd import VkDLoss
from gan_vkd.progress import Reporter

STUDENT = "deit_small_patch16_224"
TEACHERS = ("resnet50", "regnety_160")
PIXELS, CLASSES = 224, 1_000
IMAGENET = 1_281_167  # images: the size of CRD's memory


def bench_overhead(
    *, teacher: str, batch: int, rounds: int, device: torch.device, reporter: Reporter
) -> str:
    """Table 2 on this device, and V_kD's own share of a DeiT-S step and of a `lab` GAN's.

    Args:
        teacher: one of `TEACHERS`, random weights.
        batch: images a step.
        rounds: calls of each.
        device: where; bf16 autocast if it is a GPU.
        reporter: shows a bar.

    Returns:
        Two Markdown tables.
    """
    classifier = _Classifier(teacher, batch, device)
    losses = {
        "linear": lambda: _Vkd(classifier, "linear"),
        "orthogonal": lambda: _Vkd(classifier, "orthogonal"),
        "RKD": lambda: _Pooled(RkdLoss()),
        "VID": lambda: _Pooled(VidLoss(classifier.student_dim, classifier.teacher_dim)),
        "ICKD": lambda: IckdLoss(classifier.student_dim, classifier.teacher_dim),
        "CRD": lambda: _Crd(classifier),
    }
    with reporter.bar("DeiT-S steps", rounds * len(losses)) as bar:
        steps, holders = {}, {}
        for name, make in losses.items():
            bar.advance(0, f"{name}: making")
            steps[name], holders[name] = classifier.step(make().to(device))
        timings = interleaved(
            steps, "linear", rounds=rounds, patience=math.inf, device=device, bar=bar
        )
        memory = {}
        for name, step in steps.items():
            bar.advance(0, f"{name}: memory")
            memory[name] = standing_bytes(*holders[name]) + peak_bytes(step, device)
    rows = [
        [
            name,
            f"{timing.median:.3g} ± {timing.spread:.2g}",
            f"{timing.ratio:.3f}",
            f"{memory[name] / 2**30:.3f}",
            f"{memory[name] / memory['linear']:.3f}",
        ]
        for name, timing in timings.items()
    ]
    table = markdown(["loss", "s a step", "x linear", "GiB", "x linear"], rows)
    return f"{table}\n\n{_legend(teacher, classifier, rounds, device)}\n\n" + _shares(
        timings["orthogonal"].median, classifier, rounds, device, reporter
    )


def _legend(teacher: str, classifier: "_Classifier", rounds: int, device: torch.device) -> str:
    return (
        f"DeiT-S (timm {STUDENT}), teacher {teacher} with {classifier.teacher_dim} features, "
        f"random weights, {PIXELS} pixels, batch {classifier.batch}, {classifier.precision}, "
        f"AdamW, {rounds} rounds, {machine(device)}. The paper has batch 1,024 on two V100s. "
        "s a step: median ± half the quartiles' distance; ratios are medians over rounds. "
        "GiB: weights, moments and the most during a step."
    )


class _Classifier:
    """DeiT-S on random images under a frozen teacher: what all losses of Table 2 share."""

    def __init__(self, teacher: str, batch: int, device: torch.device):
        self.batch, self.device = batch, device
        self.precision = resolve_precision("auto", device)
        self.student = timm.create_model(STUDENT, num_classes=CLASSES).to(device)
        self.teacher = timm.create_model(teacher, num_classes=0).to(device).eval()
        self.teacher.requires_grad_(False)
        self.student_dim, self.teacher_dim = self.student.num_features, self.teacher.num_features
        self.images = torch.randn(batch, 3, PIXELS, PIXELS, device=device)
        self.labels = torch.randint(CLASSES, (batch,), device=device)
        self.indices = torch.randint(IMAGENET, (batch,), device=device)

    def step(self, loss: nn.Module) -> tuple[Callable[[], None], tuple]:
        """A training step with this loss, and the objects that hold memory between steps."""
        trained = [*self.student.parameters(), *loss.parameters()]
        optimiser = torch.optim.AdamW(trained, 1e-4)

        def step() -> None:
            with autocast(self.device, self.precision):
                with torch.no_grad():
                    maps = self.teacher.forward_features(self.images).flatten(2).mT.float()
                tokens = self.student.forward_features(self.images)
                logits = self.student.forward_head(tokens)
            patches = tokens[:, self.student.num_prefix_tokens :].float()
            value = F.cross_entropy(logits.float(), self.labels)
            value = value + loss(patches, maps, *([self.indices] if type(loss) is _Crd else []))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            optimiser.zero_grad()

        return step, (self.student, self.teacher, loss, optimiser)


class _Pooled(nn.Module):
    """A loss between the averages over patches [B, Ns, ds] and positions [B, Nt, dt]."""

    def __init__(self, loss: nn.Module):
        super().__init__()
        self.loss = loss

    def forward(
        self, patches: torch.Tensor, maps: torch.Tensor, *indices: torch.Tensor
    ) -> torch.Tensor:
        return self.loss(patches.mean(dim=1), maps.mean(dim=1), *indices)


class _Vkd(_Pooled):
    def __init__(self, classifier: _Classifier, projection: str):
        super().__init__(VkDLoss(classifier.student_dim, classifier.teacher_dim, projection))


class _Crd(_Pooled):
    def __init__(self, classifier: _Classifier):
        super().__init__(CrdLoss(classifier.student_dim, classifier.teacher_dim, IMAGENET))


def _shares(
    classifier_step: float,
    classifier: _Classifier,
    rounds: int,
    device: torch.device,
    reporter: Reporter,
) -> str:
    lab = resolve([("lab", preset_layer("lab"))])
    precision = resolve_precision(lab.training.precision, device)
    task = make_task(lab, lab.training.batch_size, precision, device, taught=True)
    training, often = task.recipe.training, 1 / task.recipe.distill.generated_every
    vkd = VkDLoss(classifier.student_dim, classifier.teacher_dim)
    gan = (task.terms["vkd"].loss, training.batch_size, task.view.teacher.dim, device)
    cases = {
        "iteration": lambda: task.iterate(1),  # 0 and every other one see generated images
        "real": _alone(*gan, calls=1),
        "real and generated": _alone(*gan, calls=2),
        "DeiT-S": _alone(vkd, classifier.batch, classifier.teacher_dim, device, calls=1),
    }
    with reporter.bar("V_kD alone", 5 * rounds * len(cases)) as bar:
        for iteration in range(12):  # the teacher's features of all images, once
            task.iterate(iteration)
        timings = interleaved(
            cases, "iteration", rounds=5 * rounds, patience=math.inf, device=device, bar=bar
        )
    alone = {name: timing.median for name, timing in timings.items()}
    gan_alone = training.d_steps * (
        (1 - often) * alone["real"] + often * alone["real and generated"]
    )
    rows = [
        _share("DeiT-S above", alone["DeiT-S"], classifier_step),
        _share("GAN iteration, preset lab", gan_alone, alone["iteration"]),
    ]
    table = markdown(["step", "V_kD alone, ms", "step, ms", "share"], rows)
    return (
        f"{table}\n\nV_kD alone: retraction, whitening, projection and distance of given features, "
        "forward, backward and an Adam step; medians. An iteration of the GAN is "
        f"{training.d_steps} such steps; 1 in {1 / often:g} has generated images too."
    )


def _share(name: str, alone: float, step: float) -> list[str]:
    return [name, f"{alone * 1e3:.3g}", f"{step * 1e3:.4g}", f"{alone / step:.2%}"]


def _alone(
    loss: VkDLoss, batch: int, teacher_dim: int, device: torch.device, calls: int
) -> Callable[[], None]:
    """A step of the projection under `calls` batches of given features."""
    loss = loss.to(device)
    h = torch.randn(batch, loss.student_dim, device=device, requires_grad=True)
    z = torch.randn(batch, teacher_dim, device=device)
    optimiser = torch.optim.Adam(loss.parameters(), 1e-4)

    def call() -> None:
        h.grad = None
        sum(loss(h, z) for _ in range(calls)).backward()
        optimiser.step()
        optimiser.zero_grad()

    return call
