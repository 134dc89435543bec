import pytest
import torch

from gan_vkd import VkDLoss, WhitenDataset
from gan_vkd.distill.normalise import Whiten


def test_value_by_an_independent_computation():
    torch.manual_seed(0)
    h, z = torch.randn(10, 6), torch.randn(10, 20)
    loss = VkDLoss(student_dim=6, teacher_dim=20)
    p = loss.projection.matrix().double()
    centred = h.double() - h.double().mean(dim=0)
    u, _, v = torch.linalg.svd((z - z.mean(dim=0)).double(), full_matrices=False)
    targets = u[:, :9] @ v[:9] * (10 * 20 / 9) ** 0.5
    expected = (centred @ p.T - targets).square().sum() / 6 / 10
    assert torch.allclose(loss(h, z).double(), expected, rtol=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"ridge": 0.1}, {"projection": "svd", "normalise": "none"}]
)
def test_targets_that_are_computed_once_give_the_same_value_and_gradient(options):
    torch.manual_seed(0)
    loss = VkDLoss(6, 20, **options)
    h, z = torch.randn(10, 6, requires_grad=True), torch.randn(10, 20)
    whole = loss(h, z)
    (expected,) = torch.autograd.grad(whole, h)
    targets = loss.targets(z)
    assert not targets.requires_grad
    parts = loss.distance_to(h, targets)
    assert torch.equal(parts, whole)
    assert torch.equal(torch.autograd.grad(parts, h)[0], expected)


def test_a_ridge_is_that_of_whiten():
    z = torch.randn(10, 20)
    assert torch.equal(VkDLoss(6, 20, ridge=0.3).targets(z), Whiten(0.3)(z))
    for normalise in ("layernorm", "none", WhitenDataset(20, 4)):
        with pytest.raises(ValueError, match="ridge goes with normalise='whiten' alone"):
            VkDLoss(6, 20, normalise=normalise, ridge=0.3)


def loss_of(name: str) -> VkDLoss:
    """ds = 16, dt = 40, with a projection or with whiten-dataset."""
    torch.manual_seed(0)
    if name == "whiten-dataset":
        return VkDLoss(16, 40, normalise=WhitenDataset.fit([torch.randn(100, 40)], rank=12))
    return VkDLoss(16, 40, name, normalise="none" if name == "svd" else "whiten")


KINDS = pytest.mark.parametrize(
    "name", ["orthogonal", "orthogonal-exp", "linear", "svd", "whiten-dataset"]
)


@KINDS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cast_with_its_model_it_computes_in_float32(name, dtype):
    loss = loss_of(name)
    h, z = torch.randn(30, 16), torch.randn(30, 40)
    exact, rounded = loss(h, z), loss(h.to(dtype).float(), z)
    value = loss.to(dtype)(h.to(dtype), z)
    assert value.dtype == torch.float32
    assert torch.equal(value, rounded)
    assert value.item() == pytest.approx(exact.item(), rel=1e-3)


@KINDS
def test_in_float64_nothing_is_rounded(name):
    loss = loss_of(name).double()
    h, z = torch.randn(30, 16).double(), torch.randn(30, 40).double()
    value, targets = loss(h, z), loss.targets(z)
    projected = (h - h.mean(dim=0)) @ loss.projection.matrix().T
    expected = (projected - targets).square().sum() / loss.scale / 30
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    assert targets.dtype == value.dtype == torch.float64


@pytest.mark.parametrize("normalise", ["none", "layernorm"])
def test_uncentred_targets_leave_h_uncentred(normalise):
    loss = VkDLoss(4, 9, normalise=normalise)
    h = torch.randn(8, 4) + 3
    assert torch.allclose(loss.predictions(h), h @ loss.projection.matrix().T, atol=1e-5)


def test_smooth_l1_and_scale():
    loss = VkDLoss(4, 4, projection="linear", normalise="none", distance="smooth-l1")
    torch.nn.init.zeros_(loss.projection.weight)
    assert torch.allclose(loss(torch.randn(5, 4), torch.full((5, 4), 3.0)), torch.tensor(2.5))


def test_a_fitted_whitening_sets_the_target_dimension():
    z = torch.randn(100, 32)
    loss = VkDLoss(8, 32, normalise=WhitenDataset.fit([z], rank=8))
    assert loss.projection(torch.randn(3, 8)).shape == (3, 8)
    assert torch.isfinite(loss(torch.randn(10, 8), z[:10]))
    assert "normalise.whitener" in loss.state_dict()


def test_gradient_reaches_student_and_projection_but_not_teacher():
    h, z = torch.randn(10, 6, requires_grad=True), torch.randn(10, 20, requires_grad=True)
    loss = VkDLoss(6, 20)
    loss(h, z).backward()
    assert h.grad.abs().sum() > 0
    assert loss.projection.move.grad.abs().sum() > 0
    assert z.grad is None


def test_unknown_names_and_unfitted_whitening_are_clear_errors():
    with pytest.raises(ValueError, match=r"WhitenDataset\.fit"):
        VkDLoss(4, 8, normalise="whiten-dataset")
    for argument in ("projection", "normalise", "distance"):
        with pytest.raises(ValueError, match=f"{argument}='nonsense': choose one of"):
            VkDLoss(4, 8, **{argument: "nonsense"})


def test_svd_compares_with_the_truncated_decomposition():
    torch.manual_seed(0)
    z = torch.randn(10, 20).double()
    _, _, v = torch.linalg.svd(z - z.mean(dim=0), full_matrices=False)
    v = v * v.gather(1, v.abs().argmax(dim=1, keepdim=True)).sign()  # largest entries positive
    coordinates = (z - z.mean(dim=0)) @ v[:6].T
    loss = VkDLoss(6, 20, projection="svd", normalise="none")
    assert loss(coordinates + 7, z) < 1e-9  # h is centred
    off = torch.randn(10, 6).double()
    off = off - off.mean(dim=0)
    expected = off.square().sum() / 6 / 10
    assert torch.allclose(loss(coordinates + off, z).double(), expected, rtol=1e-4)
    assert list(loss.parameters()) == []


@pytest.mark.parametrize("projection", ["orthogonal", "orthogonal-exp", "linear", "svd"])
def test_two_batches_in_one_backward(projection):
    """As a GAN has: real and generated images."""
    torch.manual_seed(0)
    loss = VkDLoss(6, 20, projection=projection, normalise="none")
    batches = [(torch.randn(10, 6, requires_grad=True), torch.randn(10, 20)) for _ in range(2)]
    sum(loss(h, z) for h, z in batches).backward()
    for h, z in batches:
        together, h.grad = h.grad, None
        loss(h, z).backward()
        assert torch.allclose(h.grad, together, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"normalise": "none", "distance": "smooth-l1"}])
def test_svd_of_whitened_targets_is_refused(options):
    with pytest.raises(ValueError, match="projection='svd' takes normalise='none'"):
        VkDLoss(6, 20, projection="svd", **options)


def test_identity_compares_features_of_equal_size_as_they_are():
    h, z = torch.randn(5, 8), torch.randn(5, 8)
    loss = VkDLoss(8, 8, projection="identity", normalise="none")
    assert torch.allclose(loss(h, z), (h - z).square().sum() / 8 / 5)


def test_training_with_it_lowers_the_loss():
    torch.manual_seed(0)
    z = torch.randn(40, 20)
    student = torch.nn.Linear(12, 6)
    inputs = torch.randn(40, 12)
    loss = VkDLoss(6, 20, normalise="layernorm")
    optimiser = torch.optim.Adam([*student.parameters(), *loss.parameters()], 0.01)
    values = []
    for _ in range(200):
        value = loss(student(inputs), z)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize(
    ("h", "z", "words"),
    [
        ((4, 7, 6), (4, 20), r"student features must be \[B, 6\], got \[4, 7, 6\] \(pool tokens"),
        ((4, 6), (4, 20, 7, 7), r"teacher features must be \[B, 20\].*maps: take their mean\(\(2"),
        ((4, 7), (4, 20), r"student features must be \[B, 6\], got \[4, 7\]$"),
        ((4, 6), (4, 19), r"teacher features must be \[B, 20\], got \[4, 19\]$"),
        ((4,), (4, 20), r"student features must be \[B, 6\], got \[4\]$"),
        ((1, 6), (4, 20), "features of 1 images for the student and of 4 for the teacher"),
    ],
)
def test_features_of_other_shapes_are_refused(h, z, words):  # CASES 35
    with pytest.raises(ValueError, match=words):
        VkDLoss(6, 20)(torch.randn(h), torch.randn(z))
