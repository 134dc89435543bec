"""CRD and WCoRD against plain float64 computations, pair by pair."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch

from gan_vkd.distill.methods.crd import CrdLoss, Negatives
from gan_vkd.distill.methods.wcord import dual, sinkhorn, transport_cost
from gan_vkd.errors import GanVkdError


def features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


def test_crd():
    student, teacher = features(4, 3), features(4, 6)
    indices = torch.tensor([7, 2, 9, 0])
    loss = CrdLoss(3, 6, num_images=10, embedding_dim=5, negatives=12)
    others = torch.randint(9, (4, 12))
    others += others >= indices[:, None]
    memories = {
        side: getattr(loss, f"{side}_memory").clone().double().numpy()
        for side in ("student", "teacher")
    }
    value = loss(student, teacher, indices, others)

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embedded(layer: torch.nn.Linear, rows: torch.Tensor) -> np.ndarray:
        weight, bias = (p.detach().double().numpy() for p in layer.parameters())
        return unit(rows.detach().double().numpy() @ weight.T + bias)

    ours = embedded(loss.embed_student, student)
    theirs = embedded(loss.embed_teacher, teacher)

    def odds(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(float(a @ b) / 0.07)

    expected = 0.0
    for anchors, memory in ((ours, memories["teacher"]), (theirs, memories["student"])):
        shown = [[own, *others[b].tolist()] for b, own in enumerate(indices.tolist())]
        mean = np.mean([odds(anchors[b], memory[n]) for b in range(4) for n in shown[b]])
        noise = 10 * mean * 12 / 10  # Z K/N

        def same(b: int, n: int, anchors=anchors, memory=memory, noise=noise) -> float:  # h(t, s)
            return odds(anchors[b], memory[n]) / (odds(anchors[b], memory[n]) + noise)

        for b, (own, *rest) in enumerate(shown):
            expected -= math.log(same(b, own)) / 4
            expected -= sum(math.log1p(-same(b, n)) for n in rest) / 4
    assert value.item() == pytest.approx(expected, rel=1e-4)

    remembered = unit(memories["student"][indices] / 2 + ours / 2)
    assert np.allclose(loss.student_memory[indices].numpy(), remembered, atol=1e-6)
    untouched = [i for i in range(10) if i not in indices.tolist()]
    assert np.allclose(loss.student_memory[untouched].numpy(), memories["student"][untouched])
    value.backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert loss.embed_teacher.weight.grad.abs().sum() > 0


def test_crds_constant_is_that_of_the_first_batch():
    loss = CrdLoss(3, 6, num_images=10, embedding_dim=5, negatives=12)
    batch = features(4, 3), features(4, 6), torch.arange(4), torch.randint(4, 10, (4, 12))
    loss(*batch)
    first = loss.student_mean.clone()
    assert first > 0
    loss(*batch)
    assert loss.student_mean == first


def test_negatives_are_of_other_classes_and_all_alike_likely():
    labels = torch.tensor([2, 0, 1, 1, 2, 0, 2, 2])
    shown = torch.tensor([2, 1])
    rows = Negatives(labels)(shown, 8_000, torch.tensor([3]))
    for label, drawn in zip(shown, rows, strict=True):
        counts = torch.bincount(drawn, minlength=8)
        allowed = labels != label
        assert (counts[~allowed] == 0).all()
        expected = 8_000 / allowed.sum()
        assert ((counts[allowed] - expected).abs() < 5 * expected.sqrt()).all()


def test_one_class_has_no_negatives():
    with pytest.raises(GanVkdError, match="there is one"):
        Negatives(torch.zeros(5, dtype=torch.int64))


def test_crd_method(make, seen):
    method = make("crd", negatives=20, embedding_dim=4)
    others = method.negatives(seen.labels, 20, seen.key)
    again = make("crd", negatives=20, embedding_dim=4)
    again.load_state_dict(method.state_dict())
    expected = again.loss(seen.student.pooled, seen.teacher.pooled, seen.rows, others)
    assert method(seen).item() == pytest.approx(expected.item(), rel=1e-6)
    settings = make("crd").settings
    assert (settings.weight, settings.kd_weight) == (0.8, 0)
    assert (settings.negatives, settings.momentum, settings.contrast_temperature) == (
        16_384,
        0.5,
        0.07,
    )
    assert make("crd+kd").settings.kd_weight == 1


def test_sinkhorn_finds_the_entropic_plan():
    """Against a general minimiser over all plans with uniform margins."""
    cost = torch.rand(3, 3, dtype=torch.float64)
    plan = sinkhorn(cost, 0.1, 500).numpy()
    assert np.allclose(plan.sum(axis=0), 1 / 3, atol=1e-9)
    assert np.allclose(plan.sum(axis=1), 1 / 3, atol=1e-9)

    def objective(flat: np.ndarray) -> float:
        return float(flat @ cost.numpy().flatten() + 0.1 * (flat * np.log(flat)).sum())

    margins = [np.eye(9)[k * 3 : k * 3 + 3].sum(axis=0) for k in range(3)]
    margins += [np.eye(9)[k::3].sum(axis=0) for k in range(3)]
    found = scipy.optimize.minimize(
        objective,
        np.full(9, 1 / 9),
        bounds=[(1e-9, 1)] * 9,
        constraints=[{"type": "eq", "fun": lambda x, a=a: a @ x - 1 / 3} for a in margins[:5]],
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert np.allclose(plan.flatten(), found.x, atol=1e-5)


def test_a_sharp_plan_is_the_best_assignment():
    ours = torch.nn.functional.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    theirs = torch.nn.functional.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    cost = 1 - (ours @ theirs.T).numpy()
    best = cost[scipy.optimize.linear_sum_assignment(cost)].mean()
    assert transport_cost(ours, theirs, 1e-3, 3_000).item() == pytest.approx(best, rel=1e-3)


def test_dual():
    memory = torch.nn.functional.normalize(torch.randn(9, 4), dim=1)
    anchors = torch.nn.functional.normalize(torch.randn(3, 4), dim=1)
    own, others = torch.tensor([4, 0, 8]), torch.tensor([[1, 2], [3, 3], [5, 6]])
    m, a = memory.double().numpy(), anchors.double().numpy()
    expected = np.mean([m[n] @ a[b] for b in range(3) for n in others[b]])
    expected -= np.mean([m[own[b]] @ a[b] for b in range(3)])
    assert dual(anchors, memory, own, others).item() == pytest.approx(expected, rel=1e-5)


def test_wcord_method(make, seen):
    method = make("wcord", negatives=20, embedding_dim=4).eval()  # no power iterations meanwhile
    memories = method.student_memory.clone(), method.teacher_memory.clone()
    unit = torch.nn.functional.normalize
    ours = unit(method.embed_student(seen.student.pooled), dim=1)
    theirs = unit(method.embed_teacher(seen.teacher.pooled), dim=1)
    others = method.negatives(seen.labels, 20, seen.key)
    apart = dual(ours, memories[1], seen.rows, others) + dual(
        theirs, memories[0], seen.rows, others
    )
    expected = 0.8 * apart / 0.07 + 0.05 * transport_cost(ours, theirs, 0.05, 10)
    value = method(seen)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    mixed = unit((memories[0][seen.rows] + ours) / 2, dim=1)
    assert torch.allclose(method.student_memory[seen.rows], mixed, atol=1e-6)
    value.backward()
    assert seen.student.pooled.grad.abs().sum() > 0
    assert torch.linalg.matrix_norm(method.embed_student.weight, 2) < 1.2
    assert make("wcord+kd").settings.kd_weight == 1
