"""Discriminators, losses, terms, methods and augmentations by name: one line for each.

An entry is a class, or the place of one as `module:Class`, imported when it is first asked for.
Each class tells in its docstring what it does and where it comes from, and has

* `paper`: the source, in a few words;
* `Settings`: its part of a recipe (`gan_vkd.config.core.Group`), where it has one.
"""

import difflib
from collections.abc import Iterator
from importlib import import_module
from typing import Any


class Registry:
    """Classes by name.

    Args:
        kind: what they are, as messages call it.
        entries: the classes, or where they are.
    """

    def __init__(self, kind: str, entries: dict[str, str | type]):
        self.kind, self.entries = kind, entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __getitem__(self, name: str) -> Any:
        """The class.

        Raises:
            ValueError: unknown name; the message has the nearest known one.
        """
        self.check(name)
        entry = self.entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            entry = getattr(import_module(module), attribute)
        return entry

    def check(self, name: str) -> None:
        """Refuse an unknown name, without importing anything.

        Raises:
            ValueError: with the nearest known name.
        """
        if not isinstance(name, str) or name not in self.entries:
            close = difflib.get_close_matches(str(name), self.entries, n=1)
            known = f"did you mean {close[0]}?" if close else f"known: {', '.join(self) or 'none'}"
            raise ValueError(f"unknown {self.kind} {name!r}; {known}")


DISCRIMINATORS = Registry(
    "discriminator",
    {
        "biggan": "gan_vkd.gan.networks.biggan:Discriminator",
        "projected": "gan_vkd.gan.networks.projected:ProjectedDiscriminator",
    },
)

LOSSES = Registry(
    "adversarial loss",
    {
        "hinge": "gan_vkd.gan.losses.hinge:HingeLoss",
        "relativistic": "gan_vkd.gan.losses.relativistic:RelativisticLoss",
    },
)

DISTILLATIONS = Registry(
    "method of distillation",
    {
        "kd-dlgan": "gan_vkd.gan.terms.kd_dlgan:KDDLGANTerm",
        "vkd": "gan_vkd.gan.terms.vkd:VkDTerm",
    },
)

TERMS = Registry(
    "term",
    {
        "adaptive": "gan_vkd.gan.terms.adaptive:AdaptiveTerm",
        "apa": "gan_vkd.gan.terms.apa:APATerm",
        "augself": "gan_vkd.gan.terms.augself:AugSelfTerm",
        "bcr": "gan_vkd.gan.terms.bcr:BCRTerm",
        "chain": "gan_vkd.gan.terms.chain:ChainTerm",
        "cr": "gan_vkd.gan.terms.cr:CRTerm",
        "diggan": "gan_vkd.gan.terms.diggan:DigGANTerm",
        "lecam": "gan_vkd.gan.terms.lecam:LeCamTerm",
        "mode-seeking": "gan_vkd.gan.terms.mode_seeking:ModeSeekingTerm",
        "r1": "gan_vkd.gan.terms.r1:R1Term",
        "r2": "gan_vkd.gan.terms.r2:R2Term",
        "san": "gan_vkd.gan.terms.san:SANTerm",
        "vision-aided": "gan_vkd.gan.terms.vision_aided:VisionAidedTerm",
        "zcr": "gan_vkd.gan.terms.zcr:ZCRTerm",
    },
)

_METHODS = "gan_vkd.distill.methods"

METHODS = Registry(
    "method of distillation between classifiers",
    {
        "none": f"{_METHODS}.none:NoMethod",
        "kd": f"{_METHODS}.kd:Kd",
        "dkd": f"{_METHODS}.dkd:Dkd",
        "fitnet": f"{_METHODS}.fitnet:FitNet",
        "at": f"{_METHODS}.attention:Attention",
        "nst": f"{_METHODS}.nst:Nst",
        "sp": f"{_METHODS}.similarity:Similarity",
        "reviewkd": f"{_METHODS}.reviewkd:ReviewKd",
        "cc": f"{_METHODS}.correlation:Correlation",
        "rkd": f"{_METHODS}.rkd:Rkd",
        "pkt": f"{_METHODS}.pkt:Pkt",
        "crd": f"{_METHODS}.crd:Crd",
        "crd+kd": f"{_METHODS}.crd:CrdKd",
        "wcord": f"{_METHODS}.wcord:Wcord",
        "wcord+kd": f"{_METHODS}.wcord:WcordKd",
        "vid": f"{_METHODS}.vid:Vid",
        "ickd": f"{_METHODS}.ickd:Ickd",
        "srd": f"{_METHODS}.srd:Srd",
        "vkd": f"{_METHODS}.vkd_features:VkdFeatures",
    },
)

AUGMENTATIONS = Registry(
    "augmentation",
    {
        "ada": "gan_vkd.gan.augment.ada:Ada",
        "color": "gan_vkd.gan.augment.diffaugment:Color",
        "translation": "gan_vkd.gan.augment.diffaugment:Translation",
        "cutout": "gan_vkd.gan.augment.diffaugment:Cutout",
        "flip": "gan_vkd.gan.augment.flip:Flip",
    },
)
