"""Train a small classifier from scratch: `gan-vkd teacher fit`, and the evaluator `bundled-1`."""

import time
from pathlib import Path

import torch
import torch.nn.functional as F

from gan_vkd.data.batches import batch_indices, flip_coins, mirror, shift
from gan_vkd.data.images import ImageSet, to_float
from gan_vkd.data.sources import load_dataset
from gan_vkd.data.subsets import split_training
from gan_vkd.distill.small_resnet import SmallResNet, save_classifier
from gan_vkd.progress import Reporter
from gan_vkd.randomness import generator, seed_for

BATCH_SIZE = 128
PEAK_LR = 0.2
WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.1


def fit_classifier(
    train: ImageSet,
    held_out: ImageSet | None,
    *,
    epochs: int,
    flip: bool,
    seed: int,
    device: torch.device,
    reporter: Reporter,
) -> tuple[SmallResNet, float | None]:
    """Train on `train` with SGD (Nesterov), a one-cycle learning rate, crops and flips.

    Args:
        train: labelled images.
        held_out: images for the accuracy after every epoch, or None.
        epochs: passes over `train`.
        flip: whether a mirrored image is as good as the original.
        seed: of initialisation, order and augmentation.
        device: where to train.
        reporter: told the losses and accuracies.

    Returns:
        The trained model in eval mode, and its accuracy on `held_out` (0 to 1; None without).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "classifier"))
        model = SmallResNet(train.class_names, train.images.shape[-1])
    model.to(device, memory_format=torch.channels_last)
    train = train.to(device)
    reach = train.images.shape[-1] // 8  # pixels, of random shifts
    steps = max(1, epochs * len(train) // BATCH_SIZE)
    optimiser = torch.optim.SGD(
        model.parameters(), PEAK_LR, momentum=0.9, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LR, total_steps=steps + 1, pct_start=0.2
    )
    accuracy = None
    with reporter.bar("Training", steps) as bar:
        for step in range(steps):
            model.train()
            chosen = batch_indices(len(train), BATCH_SIZE, step, seed).to(device)
            images = to_float(train.images[chosen])
            if flip:
                images = mirror(images, flip_coins(BATCH_SIZE, step, seed))
            moves = generator(seed, "shift", step)
            offsets = torch.randint(-reach, reach + 1, (BATCH_SIZE, 2), generator=moves)
            images = shift(images, offsets.to(device))
            images = images.contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(
                model(images), train.labels[chosen], label_smoothing=LABEL_SMOOTHING
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            hundredth = (step + 1) % 100 == 0
            bar.advance(status=f"loss {loss.item():.3f}" if hundredth else None)
            epoch_ends = (step + 1) * BATCH_SIZE % len(train) < BATCH_SIZE or step + 1 == steps
            if held_out is not None and epoch_ends:
                accuracy = top1(model, held_out, device)
                epoch = (step + 1) * BATCH_SIZE / len(train)
                reporter.say(
                    f"epoch {epoch:.0f}: loss {loss.item():.3f}, held-out accuracy {accuracy:.1%}"
                )
    return model.eval(), accuracy


def fit_file(
    spec: str,
    out: Path,
    *,
    epochs: int,
    image_size: int,
    seed: int,
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
        spec, image_size=image_size, data_root=data_root, skip_bad=skip_bad, reporter=reporter
    )
    data = split_training(dataset, 1.0, "balanced", seed)
    start = time.monotonic()
    model, accuracy = fit_classifier(
        data.train,
        data.held_out,
        epochs=epochs,
        flip=dataset.flippable,
        seed=seed,
        device=device,
        reporter=reporter,
    )
    shown = "unknown" if accuracy is None else f"{accuracy:.4f} of {len(data.held_out)} images"
    card = {
        "data": f"{Path(spec).name}, {len(data.train)} images",
        "held_out_top1": shown,
        "training": f"{epochs} epochs, seed {seed}, {time.monotonic() - start:.0f} s",
    }
    save_classifier(model, out, card)
    return accuracy


@torch.no_grad()
def top1(model: SmallResNet, images: ImageSet, device: torch.device) -> float:
    """The share of `images` whose largest logit is their label; leaves `model` in eval mode."""
    model.eval()
    right = 0
    for part in torch.arange(len(images)).split(500):
        logits = model(to_float(images.images[part].to(device)))
        right += (logits.argmax(1).cpu() == images.labels[part]).sum().item()
    return right / len(images)
