"""Who plays in a run: the networks and the terms of a recipe."""

from gan_vkd.config.core import Recipe
from gan_vkd.config.registry import DISTILLATIONS, TERMS
from gan_vkd.data.images import ImageSet
from gan_vkd.gan.augment.augmentation import Augmentation
from gan_vkd.gan.networks.biggan import Discriminator, Generator
from gan_vkd.gan.terms.term import Setting, Term


def networks_of(recipe: Recipe, train: ImageSet) -> tuple[Generator, Discriminator]:
    """G and D with random weights, for the classes, size and channels of the training images."""
    gan = recipe.gan
    shape = {
        "num_classes": len(train.class_names),
        "image_size": recipe.data.image_size,
        "channels": gan.channels,
        "image_channels": train.channels,
    }
    drawing = Generator(
        **shape,
        z_dim=gan.z_dim,
        widths=gan.generator_widths,
        spectral_norm=gan.generator_spectral_norm,
    )
    return drawing, Discriminator(**shape, widths=gan.discriminator_widths)


def terms_of(
    recipe: Recipe, discriminator: Discriminator, augmentation: Augmentation, teacher_dim: int
) -> dict[str, Term]:
    """The distillation where there is a teacher, the augmentation's term, and the recipe's own.

    Args:
        recipe: of the run.
        discriminator: D, which terms may alter.
        augmentation: of what D is shown, which they may alter too.
        teacher_dim: dimension of the teacher's features; 0 without one.

    Raises:
        GanVkdError: terms that do not fit the run, or each other.
    """
    distill, training = recipe.distill, recipe.training
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
        )
        terms[name] = registry[name](settings, setting)
        terms[name].alter(discriminator, augmentation)
    return terms
