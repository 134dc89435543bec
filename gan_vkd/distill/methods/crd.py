"""Contrastive representation distillation (Tian, Krishnan and Isola, ICLR 2020)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from gan_vkd.distill.methods.draws import uniform_integers
from gan_vkd.distill.methods.method import (
    Method,
    MethodSettings,
    Seen,
    Setting,
    Weight,
    pooled_pair,
)
from gan_vkd.errors import GanVkdError


class CrdSettings(MethodSettings):
    """Contrastive distillation; weight .8, 16,384 negatives, τ .07, momentum .5, 128 dimensions."""

    method: Literal["crd"] = Field("crd", description="of distillation (gan-vkd methods)")
    weight: Weight = Field(0.8, description="of the method")
    negatives: int = Field(16_384, gt=0, le=2**24, description="images of other classes an image")
    embedding_dim: int = Field(128, gt=0, le=2**16, description="of the unit vectors")
    contrast_temperature: float = Field(0.07, gt=0, le=1e3, description="τ of the similarities")
    momentum: float = Field(0.5, ge=0, lt=1, description="of the memory")


class CrdKdSettings(CrdSettings):
    """The same beside the KL divergence of weight 1: the row CRD of V_kD's Table 1."""

    method: Literal["crd+kd"] = Field("crd+kd", description="of distillation (gan-vkd methods)")
    kd_weight: Weight = Field(1.0, description="of the KL divergence from the teacher's logits")


class Crd(Method):
    """The contrastive loss of the pooled features; negatives are images of other classes."""

    paper = "Tian et al., ICLR 2020"
    Settings = CrdSettings

    def __init__(self, settings: CrdSettings, setting: Setting):
        super().__init__(settings, setting)
        self.negatives = Negatives(setting.labels)
        self.loss = CrdLoss(
            setting.student.pooled.shape[1],
            setting.teacher.pooled.shape[1],
            len(setting.labels),
            settings.embedding_dim,
            settings.negatives,
            settings.contrast_temperature,
            settings.momentum,
        )

    def forward(self, seen: Seen) -> torch.Tensor:
        """Of the pooled features."""
        others = self.negatives(seen.labels, self.settings.negatives, seen.key)
        return self.loss(*pooled_pair(seen), seen.rows, others)


class CrdKd(Crd):
    """The contrastive loss beside the KL divergence of the logits."""

    needs = ("logits",)
    Settings = CrdKdSettings


class Negatives(nn.Module):
    """Draws training images of other classes, with replacement.

    Args:
        labels: int64 [N], of the training images.

    Raises:
        GanVkdError: there is one class only.
    """

    def __init__(self, labels: torch.Tensor):
        super().__init__()
        counts = torch.bincount(labels)
        if (counts > 0).sum() < 2:
            raise GanVkdError("--method crd: negatives come from other classes, and there is one")
        for name, values in (
            ("order", labels.argsort(stable=True)),  # images class by class
            ("counts", counts),
            ("starts", counts.cumsum(0) - counts),
        ):
            self.register_buffer(name, values, persistent=False)

    def forward(self, labels: torch.Tensor, count: int, key: torch.Tensor) -> torch.Tensor:
        """Labels int64 [B] and a key int64 [1] → rows of training images int64 [B, count]."""
        own = self.counts[labels][:, None]
        places = uniform_integers(key, (len(labels), count), len(self.order) - own)
        places = places + own * (places >= self.starts[labels][:, None])
        return self.order[places]


class CrdLoss(nn.Module):
    """Contrastive representation distillation.

    Both sides are embedded as unit vectors t and s; h guesses whether they show the same image.
    Averaged over B, with K other images:

        -log h(t, s) - Σ_K log(1 - h(t, s')),  h(t, s) = e^(t·s/τ) / (e^(t·s/τ) + Z K/N)

    The other side comes from a memory of all N images' embeddings; once the student's is the
    anchor, once the teacher's. Z is the mean of e^(t·s/τ) over the first batch times N, a constant
    a side, as in the authors' code. (The paper's h has no Z.)

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
        for side in ("student", "teacher"):
            memory = F.normalize(torch.randn(num_images, embedding_dim), dim=1)
            self.register_buffer(f"{side}_memory", memory)
            self.register_buffer(f"{side}_mean", torch.zeros(()))  # of e^(t·s/τ); 0: not known yet
        self.negatives, self.temperature, self.momentum = negatives, temperature, momentum

    def forward(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        indices: torch.Tensor,
        others: torch.Tensor,
    ) -> torch.Tensor:
        """[B, ds], [B, dt], the images' numbers int64 [B], and of others int64 [B, K] → scalar."""
        ours = F.normalize(self.embed_student(student), dim=1)
        theirs = F.normalize(self.embed_teacher(teacher.detach()), dim=1)
        rows = torch.cat([indices[:, None], others], dim=1)
        loss = self._critic(ours, self.teacher_memory[rows], self.student_mean)
        loss = loss + self._critic(theirs, self.student_memory[rows], self.teacher_mean)
        self._remember(self.student_memory, ours, indices)
        self._remember(self.teacher_memory, theirs, indices)
        return loss

    def _critic(
        self, anchors: torch.Tensor, candidates: torch.Tensor, mean: torch.Tensor
    ) -> torch.Tensor:
        """[B, E] and [B, 1 + K, E], the first of each row its own image's → scalar."""
        similarities = (candidates @ anchors[:, :, None]).squeeze(2) / self.temperature
        with torch.no_grad():
            mean.copy_(torch.where(mean == 0, similarities.exp().mean(), mean))
        # Z K/N is K times the mean.
        logits = similarities - math.log(self.negatives) - mean.log()  # of h
        own, other = logits[:, 0], logits[:, 1:]
        return (F.softplus(-own) + F.softplus(other).sum(dim=1)).mean()

    @torch.no_grad()
    def _remember(self, memory: torch.Tensor, rows: torch.Tensor, indices: torch.Tensor) -> None:
        mixed = self.momentum * memory[indices] + (1 - self.momentum) * rows.to(memory.dtype)
        memory[indices] = F.normalize(mixed, dim=1)
