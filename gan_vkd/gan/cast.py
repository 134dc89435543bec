"""Who plays in a run: the networks and the terms of a recipe."""

from collections.abc import Mapping

from torch import nn

from gan_vkd.config.core import Recipe
from gan_vkd.config.registry import DISCRIMINATORS, DISTILLATIONS, TERMS
from gan_vkd.data.images import ImageSet
from gan_vkd.errors import GanVkdError
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.networks.biggan import Generator
from gan_vkd.gan.terms.term import GRADIENTS, Setting, Term


def networks_of(recipe: Recipe, train: ImageSet) -> tuple[Generator, nn.Module]:
    """G and D with random weights, for the classes, size and channels of the training images.

    Raises:
        GanVkdError: a discriminator whose frozen network can't be had or used.
    """
    gan, num_classes = recipe.gan, len(train.class_names)
    drawing = Generator(
        num_classes=num_classes,
        image_size=recipe.data.image_size,
        channels=gan.channels,
        image_channels=train.channels,
        z_dim=gan.z_dim,
        widths=gan.generator_widths,
        spectral_norm=gan.generator_spectral_norm,
    )
    judging = DISCRIMINATORS[recipe.discriminator.kind]
    return drawing, judging.made(recipe, num_classes, train.channels)


def terms_of(
    recipe: Recipe,
    discriminator: nn.Module,
    augmentation: Augmentation,
    teacher_dim: int,
    class_names: tuple[str, ...],
    num_images: int,
) -> dict[str, Term]:
    """The distillation where there is a teacher, the augmentation's term, and the recipe's own.

    Args:
        recipe: of the run.
        discriminator: D, which terms may alter.
        augmentation: of what D is shown, which they may alter too.
        teacher_dim: dimension of the teacher's features; 0 without one.
        class_names: of the training images.
        num_images: number of training images.

    Raises:
        GanVkdError: terms that do not fit the run, or each other.
    """
    distill, training = recipe.distill, recipe.training
    if not teacher_dim and distill.method != "vkd":
        raise GanVkdError(f"--with {distill.method}: learns from a teacher: name a --teacher")
    chosen = {distill.method: (DISTILLATIONS, distill)} if teacher_dim else {}
    adaptive = {"adaptive": TERMS["adaptive"].Settings()} if "ada" in augmentation.policies else {}
    own = {**adaptive, **recipe.terms}
    chosen |= {name: (TERMS, settings) for name, settings in own.items()}
    terms = {}
    for name, (registry, settings) in chosen.items():
        setting = Setting(
            feature_dim=discriminator.feature_dim,
            teacher_dim=teacher_dim,
            name=name,
            loss=recipe.gan.loss,
            policies=recipe.data.policies,
            flip=recipe.data.flip,
            z_dim=recipe.gan.z_dim,
            batch_size=training.batch_size,
            d_steps=training.d_steps,
            teacher=recipe.teacher.spec,
            class_names=class_names,
            image_size=recipe.data.image_size,
            num_images=num_images,
        )
        terms[name] = registry[name](settings, setting)
        terms[name].alter(discriminator, augmentation)
    judge = "" if discriminator.alone else f"the discriminator {recipe.discriminator.kind}"
    _require_fit(terms, judge, range(training.d_steps))
    return terms


def _require_fit(terms: Mapping[str, Term], judge: str, steps: range) -> None:
    """Terms next to a discriminator with batch norm, which is named, or next to each other."""
    normalising = [
        f"--with {name} normalises over the batch"
        for name, term in terms.items()
        if term.normalises
    ]
    norms = [*normalising, *([f"{judge} has batch norm"] if judge else [])]
    for name, term in terms.items():
        if norms and any({*GRADIENTS} & term.reads(step) for step in steps):
            reason = "needs the gradient of each image's logit by that image"
        elif normalising and type(term).show is not Term.show:
            reason = "shows D further images beside real and generated ones"
        else:
            continue
        raise GanVkdError(f"--with {name}: {reason}, and {norms[0]}: leave {name} out")
