"""gan_vkd: BigGAN on few images, its discriminator taught by a frozen vision model (V_kD).

Importing the package loads nothing heavy; the public names below are loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_vkd.distill.methods.vkd import VkDLoss
    from gan_vkd.distill.normalise import WhitenDataset
    from gan_vkd.errors import GanVkdError
    from gan_vkd.gan.exported import load_generator

__version__ = "0.2.0"

_PUBLIC = {
    "GanVkdError": "gan_vkd.errors",
    "VkDLoss": "gan_vkd.distill.methods.vkd",
    "WhitenDataset": "gan_vkd.distill.normalise",
    "load_generator": "gan_vkd.gan.exported",
}

__all__ = ["GanVkdError", "VkDLoss", "WhitenDataset", "__version__", "load_generator"]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'gan_vkd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
