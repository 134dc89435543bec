"""Methods for feature maps, each against a plain float64 computation, image by image."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gan_vkd.distill.methods.ickd import IckdLoss
from gan_vkd.distill.methods.reviewkd import nearest, pyramid_distance
from gan_vkd.distill.methods.vid import VidLoss
from gan_vkd.errors import GanVkdError


def features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


def plain(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def averaged(maps: np.ndarray, side: int) -> np.ndarray:
    """[B, C, H, H] → [B, C, side, side], means of squares."""
    step = maps.shape[-1] // side
    cut = maps.reshape(*maps.shape[:2], side, step, side, step)
    return cut.mean(axis=(3, 5))


def pairs(seen) -> list[tuple[np.ndarray, np.ndarray]]:
    """The last three maps of both, of the smaller one's side."""
    found = []
    for ours, theirs in zip(seen.student.maps[1:], seen.teacher.maps[2:], strict=True):
        side = min(ours.shape[-1], theirs.shape[-1])
        found.append((averaged(plain(ours), side), averaged(plain(theirs), side)))
    return found


def test_at(make, seen):
    def attention(maps: np.ndarray, b: int) -> np.ndarray:
        energy = (maps[b] ** 2).mean(axis=0).flatten()
        return energy / np.linalg.norm(energy)

    expected = 0.0
    for ours, theirs in pairs(seen):
        missed = [attention(ours, b) - attention(theirs, b) for b in range(6)]
        expected += np.mean(np.square(missed))
    method = make("at")
    assert method(seen).item() == pytest.approx(expected, rel=1e-5)
    assert method.settings.weight == 1_000


def test_nst(make, seen):
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        values = []
        for x in a:
            for y in b:
                cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
                values.append(cosine**2)
        return float(np.mean(values))

    expected = 0.0
    for ours, theirs in pairs(seen):
        for b in range(6):
            s, t = ours[b].reshape(len(ours[b]), -1), theirs[b].reshape(len(theirs[b]), -1)
            expected += (kernel(s, s) + kernel(t, t) - 2 * kernel(s, t)) / 6
    method = make("nst")
    assert method(seen).item() == pytest.approx(expected, rel=1e-5)
    assert method.settings.weight == 50


def test_sp(make, seen):
    def similarities(maps: torch.Tensor) -> np.ndarray:
        rows = plain(maps).reshape(6, -1)
        products = rows @ rows.T
        return products / np.linalg.norm(products, axis=1, keepdims=True)

    missed = similarities(seen.student.maps[-1]) - similarities(seen.teacher.maps[-1])
    method = make("sp")
    assert method(seen).item() == pytest.approx((missed**2).sum() / 36, rel=1e-5)
    assert method.settings.weight == 3_000


def test_fitnet_compares_one_stage_after_a_regression(make, seen):
    method = make("fitnet")
    convolution, norm, _ = method.regress  # 4 channels of 4x4 positions to 6 of 8x8
    assert isinstance(convolution, nn.ConvTranspose2d)
    raised = plain(convolution(seen.student.maps[2]))
    mean, var = raised.mean(axis=(0, 2, 3)), raised.var(axis=(0, 2, 3))
    normed = (raised - mean[:, None, None]) / np.sqrt(var[:, None, None] + norm.eps)
    expected = np.mean((np.maximum(normed, 0) - plain(seen.teacher.maps[2])) ** 2)
    value = method(seen)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert convolution.weight.grad.abs().sum() > 0
    assert seen.student.maps[2].grad.abs().sum() > 0
    assert method.settings.weight == 100


@pytest.mark.parametrize(("stage", "kind", "size"), [(1, nn.Conv2d, 1), (3, nn.ConvTranspose2d, 4)])
def test_fitnet_takes_any_stage(make, seen, stage, kind, size):
    method = make("fitnet", stage=stage)
    assert isinstance(method.regress[0], kind)
    assert method.regress[0].kernel_size == (size, size)
    assert torch.isfinite(method(seen))


def test_fitnet_names_the_stages_there_are(make):
    with pytest.raises(GanVkdError, match=r"distill\.stage 4: .* maps 0 to 3"):
        make("fitnet", stage=4)


def test_ickd_method(make, seen):
    method = make("ickd")
    maps = method.embed(seen.student.maps[-1])
    total = 0.0
    for ours, theirs in zip(plain(maps), plain(seen.teacher.maps[-1]), strict=True):
        relations = []
        for image in (ours, theirs):
            channels = image.reshape(len(image), -1)
            products = channels @ channels.T
            relations.append(products / np.linalg.norm(products, axis=1, keepdims=True))
        total += ((relations[0] - relations[1]) ** 2).sum() / len(theirs) / 6
    assert method(seen).item() == pytest.approx(total, rel=1e-4)
    assert method.settings.weight == 2.5


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


def test_vid_method_sums_over_stages_and_averages_over_entries(make, seen):
    method = make("vid")
    variance = 5.0
    expected = 0.0
    for loss, (ours, theirs) in zip(method.losses, pairs(seen), strict=True):
        weights = [plain(layer.weight) for layer in loss.mean if isinstance(layer, nn.Linear)]
        assert len(weights) == 3
        x = np.moveaxis(ours, 1, -1)
        for number, weight in enumerate(weights):
            x = x @ weight.T
            x = np.maximum(x, 0) if number < 2 else x
        missed = (np.moveaxis(theirs, 1, -1) - x) ** 2
        expected += np.mean(math.log(variance) + missed / variance) / 2
    assert method(seen).item() == pytest.approx(expected, rel=1e-5)
    assert method.settings.weight == 1


def test_pyramid_distance():
    ours, theirs = features(2, 3, 8, 8), features(2, 3, 8, 8)
    terms = [(1, 8), (1 / 2, 4), (1 / 4, 2), (1 / 8, 1)]
    expected = sum(
        weight * np.mean((averaged(plain(ours), side) - averaged(plain(theirs), side)) ** 2)
        for weight, side in terms
    ) / sum(weight for weight, _ in terms)
    assert pyramid_distance(ours, theirs).item() == pytest.approx(expected, rel=1e-5)
    one = ours[:, :, :1, :1], theirs[:, :, :1, :1]
    expected = np.mean((plain(one[0]) - plain(one[1])) ** 2)
    assert pyramid_distance(*one).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("own", "side"), [(4, 8), (8, 4), (4, 4), (1, 8), (3, 8), (8, 3)])
def test_nearest_is_torchs(own, side):
    maps = features(2, 3, own, own)
    expected = nn.functional.interpolate(maps, size=(side, side), mode="nearest")
    assert torch.equal(nearest(maps, side), expected)


def test_reviewkd_goes_back_from_the_pooled_features(make, seen):
    """The levels' fusions, step by step, with each convolution as torch has it."""
    method = make("reviewkd").double().eval()
    ours = [seen.student.pooled[:, :, None, None], *seen.student.maps[:0:-1]]
    theirs = [seen.teacher.pooled[:, :, None, None], *seen.teacher.preactivations[:1:-1]]
    seen.student.__dict__.update(
        pooled=seen.student.pooled.double(), maps=tuple(m.double() for m in seen.student.maps)
    )
    expected, handed = 0, None
    for level, (s, t) in enumerate(zip(ours, theirs, strict=True)):
        fusion = method.fusions[level]
        x = fusion.enter(s.double())
        if level:
            side = x.shape[-1]
            steps = torch.arange(side) * handed.shape[-1] // side
            handed = handed[:, :, steps][:, :, :, steps]
            gates = torch.sigmoid(fusion.attend(torch.cat([x, handed], 1)))
            x = x * gates[:, :1] + handed * gates[:, 1:]
        side = t.shape[-1]
        steps = torch.arange(side) * x.shape[-1] // side
        handed = x[:, :, steps][:, :, :, steps]
        expected = expected + pyramid_distance(fusion.leave(handed), t.double())
    assert method(seen).item() == pytest.approx(expected.item(), rel=1e-6)
    assert len(method.fusions) == 4
    assert (method.settings.weight, method.settings.warmup) == (5, 20)


@pytest.mark.parametrize("name", ["fitnet", "at", "nst", "sp", "ickd", "vid", "reviewkd"])
def test_a_network_without_maps_is_refused(make, seen, name):
    seen.student.__dict__["maps"] = ()
    with pytest.raises(GanVkdError, match=f"--method {name}: the student has no maps"):
        make(name)
