"""The distillation losses that V_kD is compared with (supplement, Table 2).

Each takes the student's and the teacher's features, no gradient flows into the teacher's, and
returns a scalar. Weights between a loss and the task's are the caller's.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class RkdLoss(nn.Module):
    """Relational knowledge distillation: distances and angles (Park et al., CVPR 2019).

    Two relations are compared by the Huber loss, averaged over all pairs and all triples:

        ψ_D(i, j) = ‖f_i - f_j‖ / μ, μ the mean over the pairs i ≠ j        (L_RKD-D)
        ψ_A(i, j, k) = cos ∠ f_i f_j f_k, the angle at j                     (L_RKD-A)

    Takes B²·d and B³ numbers of memory.

    Args:
        distance_weight: of the pairs' part; the paper's comparison has 1 and 2.
        angle_weight: of the triples' part.
    """

    def __init__(self, distance_weight: float = 1.0, angle_weight: float = 2.0):
        super().__init__()
        self.weights = distance_weight, angle_weight

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """[B, ds] and [B, dt], B ≥ 2 → scalar."""
        with torch.no_grad():
            expected = _relations(teacher)
        return sum(
            weight * F.smooth_l1_loss(ours, theirs)
            for weight, ours, theirs in zip(
                self.weights, _relations(student), expected, strict=True
            )
        )


def _relations(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, d] → distances over their mean [B, B], and cosines [j, i, k] of the angle at j."""
    differences = features[None] - features[:, None]
    distances = differences.norm(dim=2)
    count = len(features)
    mean = distances.sum() / (count * (count - 1))
    directions = F.normalize(differences, dim=2)
    return distances / mean.clamp_min(1e-12), directions @ directions.mT


class VidLoss(nn.Module):
    """Variational information distillation of feature vectors (Ahn et al., CVPR 2019).

    The teacher's features are a Gaussian around a linear map μ of the student's, with a variance
    a channel that is learnt. Its negative log-likelihood without the constant, averaged over B:

        Σ_c log σ_c + (z_c - μ_c(h))² / (2 σ_c²),  σ_c² = log(1 + e^α_c) + ε

    Args:
        student_dim: ds.
        teacher_dim: dt.
        smallest: ε.
    """

    def __init__(self, student_dim: int, teacher_dim: int, smallest: float = 1e-5):
        super().__init__()
        self.mean = nn.Linear(student_dim, teacher_dim)
        self.alpha = nn.Parameter(torch.full((teacher_dim,), math.log(math.e - 1)))  # variance 1
        self.smallest = smallest

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """[B, ds] and [B, dt] → scalar."""
        variance = F.softplus(self.alpha) + self.smallest
        squared = (self.mean(student) - teacher.detach()).square()
        return (variance.log() + squared / variance).sum(dim=1).mean() / 2


class IckdLoss(nn.Module):
    """Inter-channel correlation, of each image's feature maps (Liu et al., ICCV 2021).

    A channel is a vector over the positions, here of unit length; the student's are first mapped
    linearly to as many as the teacher's. With F [channels, positions] of an image:

        ‖F_s F_sᵀ - F_t F_tᵀ‖² / dt², averaged over B

    Args:
        student_dim: ds.
        teacher_dim: dt.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        self.embed = nn.Linear(student_dim, teacher_dim, bias=False)

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """[B, Ns, ds] and [B, Nt, dt], as many positions or not → scalar."""
        ours, theirs = _correlations(self.embed(student)), _correlations(teacher.detach())
        return F.mse_loss(ours, theirs)


def _correlations(maps: torch.Tensor) -> torch.Tensor:
    channels = F.normalize(maps, dim=1)
    return channels.mT @ channels


class CrdLoss(nn.Module):
    """Contrastive representation distillation (Tian, Krishnan and Isola, ICLR 2020).

    Both sides are embedded as unit vectors t and s; h guesses whether they show the same image.
    Averaged over B, with K other images drawn at random:

        -log h(t, s) - Σ_K log(1 - h(t, s')),  h(t, s) = e^(t·s/τ) / (e^(t·s/τ) + K/N)

    The other side comes from a memory of all N images' embeddings; once the student's is the
    anchor, once the teacher's.

    Args:
        student_dim: ds.
        teacher_dim: dt.
        num_images: N, of the training set.
        embedding_dim: of the unit vectors.
        negatives: K.
        temperature: τ.
        momentum: of the memory.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        num_images: int,
        embedding_dim: int = 128,
        negatives: int = 16_384,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ):
        super().__init__()
        self.embed_student = nn.Linear(student_dim, embedding_dim)
        self.embed_teacher = nn.Linear(teacher_dim, embedding_dim)
        for side in ("student_memory", "teacher_memory"):
            memory = F.normalize(torch.randn(num_images, embedding_dim), dim=1)
            self.register_buffer(side, memory)
        self.negatives, self.temperature, self.momentum = negatives, temperature, momentum

    def forward(
        self, student: torch.Tensor, teacher: torch.Tensor, indices: torch.Tensor
    ) -> torch.Tensor:
        """[B, ds], [B, dt] and the images' numbers, int64 [B], 0 to N - 1 → scalar."""
        ours = F.normalize(self.embed_student(student), dim=1)
        theirs = F.normalize(self.embed_teacher(teacher.detach()), dim=1)
        count = len(self.student_memory)
        shape = (len(indices), self.negatives)
        others = torch.randint(count - 1, shape, device=indices.device)
        others += others >= indices[:, None]  # anything but the image itself
        rows = torch.cat([indices[:, None], others], dim=1)
        loss = self._critic(ours, self.teacher_memory[rows])
        loss = loss + self._critic(theirs, self.student_memory[rows])
        self._remember(self.student_memory, ours, indices)
        self._remember(self.teacher_memory, theirs, indices)
        return loss

    def _critic(self, anchors: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """[B, E] and [B, 1 + K, E], the first of each row its own image's → scalar."""
        similarities = (candidates @ anchors[:, :, None]).squeeze(2) / self.temperature
        logits = similarities - math.log(self.negatives / len(self.student_memory))  # of h
        own, other = logits[:, 0], logits[:, 1:]
        return (F.softplus(-own) + F.softplus(other).sum(dim=1)).mean()

    @torch.no_grad()
    def _remember(self, memory: torch.Tensor, rows: torch.Tensor, indices: torch.Tensor) -> None:
        mixed = self.momentum * memory[indices] + (1 - self.momentum) * rows.to(memory.dtype)
        memory[indices] = F.normalize(mixed, dim=1)
