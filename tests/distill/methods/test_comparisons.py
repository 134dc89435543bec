"""Each loss against a plain float64 computation, pair by pair."""

import math

import numpy as np
import pytest
import torch

from gan_vkd.distill.methods.comparisons import CrdLoss, IckdLoss, RkdLoss, VidLoss


def huber(difference: float) -> float:
    size = abs(difference)
    return size**2 / 2 if size <= 1 else size - 0.5


def features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_rkd():
    student, teacher = features(6, 4), features(6, 9)
    s, t = student.detach().double().numpy(), teacher.detach().double().numpy()
    count = len(s)

    def mean_distance(f: np.ndarray) -> float:
        pairs = [np.linalg.norm(f[i] - f[j]) for i in range(count) for j in range(count) if i != j]
        return sum(pairs) / len(pairs)

    def cosine(f: np.ndarray, i: int, j: int, k: int) -> float:
        a, b = f[i] - f[j], f[k] - f[j]
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / lengths) if lengths else 0.0

    distances = sum(
        huber(
            np.linalg.norm(s[i] - s[j]) / mean_distance(s)
            - np.linalg.norm(t[i] - t[j]) / mean_distance(t)
        )
        for i in range(count)
        for j in range(count)
    )
    angles = sum(
        huber(cosine(s, i, j, k) - cosine(t, i, j, k))
        for i in range(count)
        for j in range(count)
        for k in range(count)
    )
    loss = RkdLoss()(student, teacher)
    assert loss.item() == pytest.approx(distances / count**2 + 2 * angles / count**3, rel=1e-4)
    loss.backward()
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert RkdLoss()(3 * teacher + 1, teacher) < 1e-9  # relations know no scale and shift


def test_vid():
    student, teacher = features(5, 3), features(5, 7)
    loss = VidLoss(3, 7)
    loss.alpha.data.normal_()
    value = loss(student, teacher)
    weight, bias = (p.detach().double().numpy() for p in loss.mean.parameters())
    s, t = student.detach().double().numpy(), teacher.detach().double().numpy()
    expected = 0.0
    for b in range(5):
        for c in range(7):
            variance = math.log1p(math.exp(loss.alpha[c].item())) + 1e-5
            mean = float(weight[c] @ s[b] + bias[c])
            expected += math.log(math.sqrt(variance)) + (t[b, c] - mean) ** 2 / (2 * variance)
    assert value.item() == pytest.approx(expected / 5, rel=1e-5)
    value.backward()
    assert loss.alpha.grad.abs().sum() > 0
    assert teacher.grad is None


def test_vid_starts_with_a_variance_of_one():
    loss = VidLoss(3, 7)
    s = torch.randn(5, 3)
    assert loss(s, loss.mean(s)).item() == pytest.approx(0, abs=1e-4)


def test_ickd():
    student, teacher = features(2, 8, 3), features(2, 5, 6)  # 8 and 5 positions
    loss = IckdLoss(3, 6)
    value = loss(student, teacher)
    weight = loss.embed.weight.detach().double().numpy()
    total = 0.0
    for b in range(2):
        ours = student[b].detach().double().numpy() @ weight.T
        theirs = teacher[b].detach().double().numpy()
        ours, theirs = (m / np.linalg.norm(m, axis=0) for m in (ours, theirs))
        total += np.square(ours.T @ ours - theirs.T @ theirs).sum() / 6**2
    assert value.item() == pytest.approx(total / 2, rel=1e-5)
    value.backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_crd():
    student, teacher = features(4, 3), features(4, 6)
    indices = torch.tensor([7, 2, 9, 0])
    loss = CrdLoss(3, 6, num_images=10, embedding_dim=5, negatives=12)
    memories = {
        side: getattr(loss, f"{side}_memory").clone().double().numpy()
        for side in ("student", "teacher")
    }
    state = torch.get_rng_state()
    value = loss(student, teacher, indices)
    torch.set_rng_state(state)
    others = torch.randint(9, (4, 12)).numpy()
    others = others + (others >= indices.numpy()[:, None])
    assert (others != indices.numpy()[:, None]).all()

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embedded(layer: torch.nn.Linear, rows: torch.Tensor) -> np.ndarray:
        weight, bias = (p.detach().double().numpy() for p in layer.parameters())
        return unit(rows.detach().double().numpy() @ weight.T + bias)

    ours = embedded(loss.embed_student, student)
    theirs = embedded(loss.embed_teacher, teacher)

    def same(a: np.ndarray, b: np.ndarray) -> float:  # h(t, s)
        odds = math.exp(float(a @ b) / 0.07)
        return odds / (odds + 12 / 10)

    expected = 0.0
    for anchors, memory in ((ours, memories["teacher"]), (theirs, memories["student"])):
        for b, own in enumerate(indices.tolist()):
            expected -= math.log(same(anchors[b], memory[own])) / 4
            expected -= sum(math.log1p(-same(anchors[b], memory[n])) for n in others[b]) / 4
    assert value.item() == pytest.approx(expected, rel=1e-4)

    remembered = unit(memories["student"][indices] / 2 + ours / 2)
    assert np.allclose(loss.student_memory[indices].numpy(), remembered, atol=1e-6)
    untouched = [i for i in range(10) if i not in indices.tolist()]
    assert np.allclose(loss.student_memory[untouched].numpy(), memories["student"][untouched])
    value.backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert loss.embed_teacher.weight.grad.abs().sum() > 0
