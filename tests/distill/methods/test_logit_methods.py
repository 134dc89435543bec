"""Methods for logits, each against a plain float64 computation, image by image."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from gan_vkd.distill.methods.dkd import decoupled
from gan_vkd.distill.methods.kd import kl_divergence


def probabilities(logits: torch.Tensor, temperature: float) -> np.ndarray:
    return softmax(logits.detach().double().numpy() / temperature, axis=1)


def test_kd(make, seen):
    ours, theirs = (probabilities(out.logits, 4) for out in (seen.student, seen.teacher))
    expected = 16 * np.mean([entropy(t, s) for s, t in zip(ours, theirs, strict=True)])
    method = make("kd")
    value = method(seen)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert seen.student.logits.grad.abs().sum() > 0
    assert (method.settings.ce_weight, method.settings.weight) == (0.1, 0.9)


def test_dkd(make, seen):
    ours, theirs = (probabilities(out.logits, 4) for out in (seen.student, seen.teacher))
    target = other = 0.0
    for s, t, label in zip(ours, theirs, seen.labels.tolist(), strict=True):
        target += entropy([t[label], 1 - t[label]], [s[label], 1 - s[label]]) * 16 / 6
        rest = [k for k in range(5) if k != label]
        other += entropy(t[rest], s[rest]) * 16 / 6
    method = make("dkd")
    value = method(seen)
    assert value.item() == pytest.approx(target + 8 * other, rel=1e-5)
    value.backward()
    assert torch.isfinite(seen.student.logits.grad).all()
    assert (method.settings.ce_weight, method.settings.warmup) == (1, 20)


def test_kd_is_the_sum_of_dkds_parts(seen):
    """KD = TCKD + (1 - p_t) NCKD (Zhao et al., equation 5), for one image."""
    ours, theirs, label = (x[:1] for x in (seen.student.logits, seen.teacher.logits, seen.labels))
    target, other = decoupled(ours, theirs, label, 2.0)
    chance = torch.softmax(theirs / 2, dim=1)[0, label]
    whole = kl_divergence(ours, theirs, 2.0)
    assert whole.item() == pytest.approx((target + (1 - chance) * other).item(), rel=1e-4)


def test_sure_logits_give_finite_gradients(seen):
    ours = (seen.student.logits * 200).detach().requires_grad_()
    target, other = decoupled(ours, seen.teacher.logits * 200, seen.labels, 1.0)
    (target + other).backward()
    assert torch.isfinite(ours.grad).all()
