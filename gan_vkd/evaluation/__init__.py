"""How good and how diverse images are. Knows nothing of training."""

from gan_vkd.evaluation.clipped import compute_clipped
from gan_vkd.evaluation.frechet import frechet_distance
from gan_vkd.evaluation.prdc import compute_prdc

__all__ = ["compute_clipped", "compute_prdc", "frechet_distance"]
