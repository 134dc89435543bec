"""Train a small classifier from scratch: `gan-vkd teacher fit`, and the evaluators that ship."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from gan_vkd.classification.colour import draw_colours, recolour
from gan_vkd.data.batches import batch_indices, flip_coins, mirror, shift
from gan_vkd.data.images import ImageSet, to_float
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.device import autocast
from gan_vkd.distill.small_resnet import SmallResNet, save_classifier
from gan_vkd.progress import Reporter
from gan_vkd.randomness import generator, seed_for

LABEL_SMOOTHING = 0.1


@dataclass(frozen=True)
class FitSettings:
    """How a classifier is built and trained; the defaults are `gan-vkd teacher fit`'s.

    Attributes:
        epochs: passes over the training images.
        seed: of initialisation, order and augmentation.
        widths: channels of the stem and of each stage.
        blocks: residual blocks of each stage after the stem.
        batch_size: images a step.
        peak_lr: the highest learning rate of the cycle.
        weight_decay: of all parameters.
        colour: whether some images turn grey or are tinted (`gan_vkd.classification.colour`).
        precision: `fp32` or `bf16` (autocast).
    """

    epochs: int = 20
    seed: int = 0
    widths: tuple[int, ...] = (32, 48, 96, 192)
    blocks: tuple[int, ...] = (1, 1, 1)
    batch_size: int = 128
    peak_lr: float = 0.2
    weight_decay: float = 5e-4
    colour: bool = False
    precision: str = "fp32"


def fit_classifier(
    train: ImageSet,
    held_out: ImageSet | None,
    settings: FitSettings,
    *,
    flip: bool,
    device: torch.device,
    reporter: Reporter,
) -> tuple[SmallResNet, float | None]:
    """Train on `train` with SGD (Nesterov), a one-cycle learning rate, shifts and flips.

    Args:
        train: labelled images.
        held_out: images for the accuracy after every epoch, or None.
        settings: of the network and its training.
        flip: whether a mirrored image is as good as the original.
        device: where to train; the images are put there.
        reporter: told the losses and accuracies.

    Returns:
        The trained model in eval mode, and its accuracy on `held_out` (0 to 1; None without).
    """
    seed, batch_size = settings.seed, settings.batch_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "classifier"))
        model = SmallResNet(
            train.class_names, train.images.shape[-1], settings.widths, settings.blocks
        )
    model.to(device, memory_format=torch.channels_last)
    count, train = len(train), train.to(device)
    held_out = None if held_out is None else held_out.to(device)
    steps = max(1, settings.epochs * count // batch_size)
    optimiser = torch.optim.SGD(
        model.parameters(),
        settings.peak_lr,
        momentum=0.9,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.peak_lr, total_steps=steps + 1, pct_start=0.2
    )
    accuracy = None
    with reporter.bar("Training", steps) as bar:
        for step in range(steps):
            model.train()
            chosen = batch_indices(count, batch_size, step, seed).to(device, non_blocking=True)
            images = augment(to_float(train.images[chosen]), step, settings, flip)
            with autocast(device, settings.precision):
                logits = model(images)
            loss = F.cross_entropy(
                logits.float(), train.labels[chosen], label_smoothing=LABEL_SMOOTHING
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            hundredth = (step + 1) % 100 == 0
            bar.advance(status=f"loss {loss.item():.3f}" if hundredth else None)
            epoch_ends = (step + 1) * batch_size % count < batch_size or step + 1 == steps
            if held_out is not None and epoch_ends:
                accuracy = top1(model, held_out)
                epoch = (step + 1) * batch_size / count
                reporter.say(
                    f"epoch {epoch:.0f}: loss {loss.item():.3f}, held-out accuracy {accuracy:.1%}"
                )
    return model.eval(), accuracy


def augment(images: torch.Tensor, step: int, settings: FitSettings, flip: bool) -> torch.Tensor:
    """Batch `step` changed at random: mirrored, recoloured, shifted by up to an eighth of its side.

    Args:
        images: float [B, 3, S, S], -1 to 1.
        step: number of the batch; the draws are a function of it and of the seed.
        settings: its `seed` and `colour` matter.
        flip: whether a mirrored image is as good as the original.

    Returns:
        As `images`, channels last; what a shift lets in is 0.
    """

    def moved(draws: torch.Tensor) -> torch.Tensor:
        return draws.to(images.device, non_blocking=True)  # the GPU is not waited for

    count, seed, reach = len(images), settings.seed, images.shape[-1] // 8
    if flip:
        images = mirror(images, moved(flip_coins(count, step, seed)))
    if settings.colour:
        images = recolour(images, moved(draw_colours(count, step, seed)))
    moves = generator(seed, "shift", step)
    offsets = torch.randint(-reach, reach + 1, (count, 2), generator=moves)
    return shift(images, moved(offsets)).contiguous(memory_format=torch.channels_last)


def fit_file(
    spec: str,
    out: Path,
    settings: FitSettings,
    *,
    image_size: int,
    data_root: Path | None,
    skip_bad: bool,
    device: torch.device,
    reporter: Reporter,
) -> float | None:
    """Train a classifier on a data set and write it to `out`, with a card in its header.

    Held-out images are the test split, or a stratified tenth where there is none.

    Returns:
        The held-out accuracy (0 to 1), None where nothing could be held out.
    """
    dataset = load_dataset(
        spec,
        image_size=image_size,
        data_root=data_root,
        skip_bad=skip_bad,
        channels=3,
        reporter=reporter,
    )
    data = split_training(dataset, 1.0, "balanced", settings.seed)
    start = time.monotonic()
    model, accuracy = fit_classifier(
        data.train,
        data.held_out,
        settings,
        flip=dataset.flippable,
        device=device,
        reporter=reporter,
    )
    shown = "unknown" if accuracy is None else f"{accuracy:.4f} of {len(data.held_out)} images"
    training = asdict(settings)
    card = {
        "data": f"{Path(spec).name}, {len(data.train)} images",
        "held_out_top1": shown,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "seconds": f"{time.monotonic() - start:.0f}",
        "flips": str(dataset.flippable),
        **{name: str(training[name]) for name in training if name not in ("widths", "blocks")},
    }
    save_classifier(model, out, card)
    return accuracy


@torch.no_grad()
def top1(model: SmallResNet, images: ImageSet) -> float:
    """The share of `images` whose largest logit is their label; leaves `model` in eval mode.

    Model and images are on one device.
    """
    model.eval()
    parts = zip(images.images.split(500), images.labels.split(500), strict=True)
    right = sum((model(to_float(part)).argmax(1) == labels).sum() for part, labels in parts)
    return right.item() / len(images)
