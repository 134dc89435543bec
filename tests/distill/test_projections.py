import copy

import pytest
import torch
import torch.nn.functional as F

from gan_vkd.distill.projections import (
    PROJECTIONS,
    FrozenOrthogonalProjection,
    IdentityProjection,
    OrthogonalExpProjection,
    OrthogonalProjection,
    SvdProjection,
)

SHAPES = [(24, 64), (64, 24), (32, 32)]  # ds, dt
ORTHOGONAL = [OrthogonalProjection, OrthogonalExpProjection]


def error(projection: torch.nn.Module) -> float:
    p = projection.matrix().detach()
    gram = p.T @ p if p.shape[0] >= p.shape[1] else p @ p.T
    return (gram - torch.eye(len(gram)).to(gram)).abs().max().item()


def step(projection, optimiser, student, teacher):
    """One step of a regression that pulls away from the frames: targets of any length."""
    h, z = torch.randn(50, student), 3 * torch.randn(50, teacher)
    optimiser.zero_grad()
    (projection(h) - z).square().mean().backward()
    optimiser.step()


@pytest.mark.parametrize(("student", "teacher"), SHAPES)
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, 0.01, (0.0, 0.999)),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.5),
        lambda p: torch.optim.SGD(p, 1.0, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 10.0),
    ],
    ids=["adam", "adamw", "sgd", "huge steps"],
)
def test_orthonormal_right_after_every_step(student, teacher, make):
    torch.manual_seed(0)
    projection = OrthogonalProjection(student, teacher)
    optimiser = make(projection.parameters())
    for _ in range(200):
        step(projection, optimiser, student, teacher)
        assert error(projection) <= 1e-5


LONG = [pytest.param(10_000, autocast, marks=pytest.mark.slow) for autocast in (False, True)]


@pytest.mark.parametrize(("steps", "autocast"), [(2_000, True), *LONG])
def test_orthonormal_after_thousands_of_adam_steps(steps, autocast):
    torch.manual_seed(0)
    projection = OrthogonalProjection(8, 24)
    optimiser = torch.optim.Adam(projection.parameters(), 2e-3, (0.0, 0.999))
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            projected = projection(torch.randn(16, 8).to(torch.bfloat16 if autocast else None))
        assert projected.dtype == torch.float32
        optimiser.zero_grad()
        (projected - torch.randn(16, 24)).square().sum().backward()
        optimiser.step()
    assert error(projection) <= 1e-5


@pytest.mark.parametrize("cls", ORTHOGONAL)
@pytest.mark.parametrize(("student", "teacher"), [(6, 15), (15, 6), (8, 8)])
def test_reaches_a_random_frame(cls, student, teacher):
    for seed in range(1 if cls is OrthogonalExpProjection else 3):
        torch.manual_seed(seed)
        projection = cls(student, teacher)
        target = OrthogonalProjection(student, teacher).matrix().detach()
        if student == teacher:  # no continuous way leads to the other determinant
            target[:, 0] *= torch.det(target) * torch.det(projection.matrix().detach())
        optimiser = torch.optim.Adam(projection.parameters(), 0.03)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1_500)
        for _ in range(1_500):
            optimiser.zero_grad()
            (projection.matrix() - target).square().sum().backward()
            optimiser.step()
            schedule.step()
        assert (projection.matrix() - target).abs().max() < 1e-4


def test_a_square_projection_keeps_its_determinant_at_any_step_length():
    for seed in range(5):
        torch.manual_seed(seed)
        projection = OrthogonalProjection(8, 8)
        start = torch.det(projection.matrix())
        optimiser = torch.optim.Adam(projection.parameters(), 1.0)
        for _ in range(100):
            step(projection, optimiser, 8, 8)
            assert torch.det(projection.matrix()) * start > 0.99


@pytest.mark.parametrize("cls", ORTHOGONAL)
@pytest.mark.parametrize(("student", "teacher"), [(3, 5), (5, 3), (4, 4)])
def test_gradients_with_respect_to_h_are_exact(cls, student, teacher):
    projection = cls(student, teacher).double()
    h = torch.randn(6, student, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(projection, h)


@pytest.mark.parametrize(("student", "teacher"), [(3, 5), (5, 3), (4, 4)])
def test_the_gradient_of_a_move_is_that_of_the_loss_along_it(student, teacher):
    torch.manual_seed(0)
    projection = OrthogonalProjection(student, teacher).double()
    h, z = torch.randn(6, student).double(), torch.randn(6, teacher).double()

    def value(move: torch.Tensor) -> torch.Tensor:
        moved = copy.deepcopy(projection)
        moved.move.data.copy_(move)
        return (moved(h) - z).square().sum()

    (projection(h) - z).square().sum().backward()
    direction = torch.randn_like(projection.move)
    ahead, behind = value(1e-5 * direction), value(-1e-5 * direction)
    slope = (projection.move.grad * direction).sum()
    assert torch.allclose((ahead - behind) / 2e-5, slope, rtol=1e-6)


def test_steps_go_down_the_geodesic_direction_of_the_exponential():
    """A small step along X moves P to exp(X Pᵀ - P Xᵀ) P, to second order: the paper's form."""
    torch.manual_seed(0)
    projection = OrthogonalProjection(4, 9).double()
    p = projection.matrix().detach()
    rotation = torch.randn(9, 9).double()
    rotation = 1e-3 * (rotation - rotation.T)
    projection.move.data.copy_(rotation @ p)
    expected = torch.linalg.matrix_exp(rotation) @ p
    assert (projection.matrix() - expected).abs().max() < 1e-4
    assert (p - expected).abs().max() > 1e-3


def test_trained_by_either_form_the_loss_ends_the_same():
    """Regression on features that only an orthonormal map explains, and noise."""
    ends = {}
    for cls in ORTHOGONAL:
        torch.manual_seed(3)
        truth = OrthogonalProjection(12, 30).matrix().detach()
        h = torch.randn(256, 12) @ torch.diag(torch.linspace(0.5, 2, 12))
        z = h @ truth.T + 0.3 * torch.randn(256, 30)
        projection = cls(12, 30)
        optimiser = torch.optim.Adam(projection.parameters(), 0.02)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1_000)
        for _ in range(1_000):
            optimiser.zero_grad()
            loss = (projection(h) - z).square().mean()
            loss.backward()
            optimiser.step()
            schedule.step()
        ends[cls] = loss.item()
    assert ends[OrthogonalProjection] == pytest.approx(ends[OrthogonalExpProjection], rel=0.01)
    u, _, v = torch.linalg.svd(z.T @ h, full_matrices=False)  # the best there is (Procrustes)
    assert ends[OrthogonalProjection] == pytest.approx(
        (h @ (u @ v).T - z).square().mean().item(), rel=0.01
    )


@pytest.mark.parametrize("retracted", [False, True])
def test_a_checkpoint_goes_on_with_the_same_bits(retracted):
    torch.manual_seed(0)
    projection = OrthogonalProjection(6, 20)
    optimiser = torch.optim.Adam(projection.parameters(), 0.1)
    for _ in range(3):
        step(projection, optimiser, 6, 20)
    if retracted:
        projection.matrix()
    loaded = OrthogonalProjection(6, 20)
    loaded.load_state_dict(projection.state_dict())
    other = torch.optim.Adam(loaded.parameters(), 0.1)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for module, its_optimiser in ((projection, optimiser), (loaded, other)):
        torch.manual_seed(1)
        for _ in range(5):
            step(module, its_optimiser, 6, 20)
    assert torch.equal(projection.matrix(), loaded.matrix())


@pytest.mark.parametrize(("student", "teacher"), SHAPES)
def test_a_frozen_projection_starts_as_the_trained_one_and_stays(student, teacher):
    torch.manual_seed(1)
    trained = OrthogonalProjection(student, teacher)
    torch.manual_seed(1)
    frozen = FrozenOrthogonalProjection(student, teacher)
    start = frozen.matrix().clone()
    assert torch.equal(start, trained.matrix())
    assert not list(frozen.parameters())
    assert error(frozen) <= 1e-5
    h = torch.randn(50, student, requires_grad=True)
    (frozen(h) - torch.randn(50, teacher)).square().sum().backward()
    assert h.grad.abs().sum() > 0
    assert torch.equal(frozen.matrix(), start)
    other = FrozenOrthogonalProjection(student, teacher)
    other.load_state_dict(frozen.state_dict())
    assert torch.equal(other.matrix(), start)


def test_calls_without_a_step_change_no_bits():
    torch.manual_seed(0)
    projection = OrthogonalProjection(6, 20)
    step(projection, torch.optim.Adam(projection.parameters(), 0.1), 6, 20)
    first = projection.matrix().clone()
    with torch.inference_mode():
        projection(torch.randn(3, 6))
    assert torch.equal(projection.matrix(), first)


def test_gradients_accumulate_over_calls():
    torch.manual_seed(0)
    h, z = torch.randn(20, 6), torch.randn(20, 9)
    whole = OrthogonalProjection(6, 9)
    parts = copy.deepcopy(whole)
    (whole(h) - z).square().sum().backward()
    for rows in (slice(0, 7), slice(7, 20)):
        (parts(h[rows]) - z[rows]).square().sum().backward()
    assert torch.allclose(parts.move.grad, whole.move.grad, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_compiled_it_takes_the_same_steps():
    torch.manual_seed(0)
    plain = OrthogonalProjection(6, 20)
    other = copy.deepcopy(plain)
    compiled = torch.compile(other, backend="aot_eager")
    for call, module in ((plain, plain), (compiled, other)):
        torch.manual_seed(1)
        optimiser = torch.optim.Adam(module.parameters(), 0.1)
        for _ in range(4):
            step(call, optimiser, 6, 20)
    assert torch.allclose(plain.matrix(), other.matrix(), atol=1e-6)
    assert error(other) <= 1e-5


def test_lengths_and_angles_are_kept():
    h = torch.randn(10, 16)
    for cls in ORTHOGONAL:
        z = cls(16, 40)(h)
        assert torch.allclose(z @ z.T, h @ h.T, atol=1e-4)


MATRICES = pytest.mark.parametrize(
    "name", ["orthogonal", "orthogonal-frozen", "orthogonal-exp", "linear", "svd"]
)


@MATRICES
def test_fp32_under_autocast(name):
    projection = PROJECTIONS[name](16, 40)
    h = torch.randn(10, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = projection(h.bfloat16())
    assert inside.dtype == torch.float32
    assert torch.allclose(inside, projection(h.bfloat16().float()))


@MATRICES
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_of_the_model_leaves_them_in_float32(name, dtype):
    torch.manual_seed(0)
    projection = PROJECTIONS[name](16, 40)
    if name == "svd":
        projection.fit(torch.randn(50, 40))
    before = {key: tensor.clone() for key, tensor in projection.state_dict().items()}
    matrix = projection.matrix().clone()
    model = torch.nn.Sequential(torch.nn.Linear(3, 16), projection).to(dtype)
    assert model[0].weight.dtype == dtype
    assert projection.state_dict().keys() == before.keys()
    assert all(torch.equal(before[key], t) for key, t in projection.state_dict().items())
    assert torch.equal(projection.matrix(), matrix)
    assert name == "linear" or error(projection) <= 1e-5
    projected = model(torch.randn(5, 3).to(dtype))
    assert projected.dtype == torch.float32
    if name not in ("svd", "orthogonal-frozen"):
        projected.sum().backward()
        gradients = [parameter.grad for parameter in projection.parameters()]
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
    assert projection.double().matrix().dtype == torch.float64
    for tensor in projection.float().to("meta", dtype).state_dict().values():
        assert (tensor.device.type, tensor.dtype) == ("meta", torch.float32)


def test_a_linear_projection_starts_as_torch_s_layer():
    torch.manual_seed(0)
    ours = PROJECTIONS["linear"](7, 9)
    torch.manual_seed(0)
    theirs = torch.nn.Linear(7, 9, bias=False)
    h = torch.randn(3, 7)
    assert torch.equal(ours(h), theirs(h))
    assert ours.state_dict().keys() == theirs.state_dict().keys()


def test_the_exponential_is_the_paper_s():
    """Truncated exp(W) against its power series in float64 (equation 1)."""
    torch.manual_seed(0)
    projection = OrthogonalExpProjection(3, 7).double()
    upper = projection.weight.detach().triu(1)
    skew, term, series = upper - upper.T, torch.eye(7).double(), torch.eye(7).double()
    for n in range(1, 40):
        term = term @ skew / n
        series = series + term
    assert torch.allclose(projection.matrix(), series[:, :3], atol=1e-10)
    for student, teacher in SHAPES:
        assert error(OrthogonalExpProjection(student, teacher)) <= 1e-5


@pytest.mark.parametrize(("batch", "teacher"), [(30, 12), (9, 12)])
def test_svd_gives_the_truncated_decomposition(batch, teacher):
    torch.manual_seed(0)
    z = torch.randn(batch, teacher).double() @ torch.randn(teacher, teacher).double()
    z = z - z.mean(dim=0)
    projection = SvdProjection(5, teacher).double()
    truncated = projection.fit(z)
    u, s, v = torch.linalg.svd(z, full_matrices=False)
    assert torch.allclose(truncated, (u[:, :5] * s[:5]) @ v[:5], atol=1e-9)
    assert error(projection) < 1e-9
    coordinates = z @ projection.matrix()
    assert torch.allclose(coordinates.norm(dim=0), s[:5], atol=1e-9)
    assert torch.allclose(projection(coordinates), truncated, atol=1e-9)


def test_svd_of_fewer_directions_than_the_student_has():
    z = F.pad(torch.randn(20, 3), (0, 9))
    projection = SvdProjection(8, 12)
    projection.fit(z - z.mean(dim=0))
    assert (projection.matrix()[:, 3:] == 0).all()
    assert torch.allclose(projection.fit(torch.zeros(20, 12)), torch.zeros(20, 12))


def test_identity_needs_equal_sizes():
    h = torch.randn(3, 7)
    assert torch.equal(IdentityProjection(7, 7)(h), h)
    with pytest.raises(ValueError, match=r"equal size, got 7 and 9"):
        IdentityProjection(7, 9)
