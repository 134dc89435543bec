"""gan_vkd: BigGAN on few images, its discriminator taught by a frozen vision model (V_kD).

Importing the package loads nothing heavy; the public names below are loaded on first use.
"""

from importlib import import_module

__version__ = "0.1.0"

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
