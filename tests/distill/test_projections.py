import pytest
import torch

from gan_vkd.distill.projections import OrthogonalProjection


def error(projection: OrthogonalProjection) -> float:
    p = projection.matrix().detach()
    gram = p.T @ p if p.shape[0] >= p.shape[1] else p @ p.T
    return (gram - torch.eye(len(gram))).abs().max().item()


@pytest.mark.parametrize(("student", "teacher"), [(24, 64), (64, 24), (32, 32)])
def test_orthonormal_after_every_step_of_any_optimiser(student, teacher):
    torch.manual_seed(0)
    for make in (
        lambda p: torch.optim.Adam(p, 0.01, (0.0, 0.999)),
        lambda p: torch.optim.SGD(p, 1.0),
    ):
        projection = OrthogonalProjection(student, teacher)
        optimiser = make(projection.parameters())
        for _ in range(300):
            h, z = torch.randn(50, student), torch.randn(50, teacher)
            optimiser.zero_grad()
            (projection(h) - z).square().mean().backward()
            optimiser.step()
            assert error(projection) <= 1e-5


def test_orthonormal_after_ten_thousand_adam_steps():
    torch.manual_seed(0)
    projection = OrthogonalProjection(8, 24)
    optimiser = torch.optim.Adam(projection.parameters(), 2e-3, (0.0, 0.999))
    for _ in range(10_000):
        optimiser.zero_grad()
        (projection.matrix() * torch.randn(24, 8)).sum().backward()
        optimiser.step()
    assert error(projection) <= 1e-5


@pytest.mark.parametrize(("student", "teacher"), [(6, 15), (15, 6), (8, 8)])
def test_reaches_a_random_frame(student, teacher):
    torch.manual_seed(1)
    projection = OrthogonalProjection(student, teacher)
    target = OrthogonalProjection(student, teacher).matrix().detach()
    if student == teacher and torch.det(target) * torch.det(projection.matrix()) < 0:
        target[:, 0] *= -1  # no continuous way leads to the other determinant
    optimiser = torch.optim.Adam(projection.parameters(), 0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 3_000)
    for _ in range(3_000):
        optimiser.zero_grad()
        (projection.matrix() - target).square().sum().backward()
        optimiser.step()
        schedule.step()
    assert (projection.matrix() - target).abs().max() < 1e-4


@pytest.mark.parametrize(("student", "teacher"), [(3, 5), (5, 3), (4, 4)])
def test_gradients_are_exact(student, teacher):
    projection = OrthogonalProjection(student, teacher).double()
    h = torch.randn(6, student, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(projection, h)

    def of_weight(weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(projection, {"weight": weight}, h.detach())

    assert torch.autograd.gradcheck(of_weight, projection.weight)


def test_a_square_projection_keeps_its_determinant():
    """Large steps to a far frame: without retraction they jump to the other determinant."""
    torch.manual_seed(4)
    projection = OrthogonalProjection(8, 8)
    target = OrthogonalProjection(8, 8).matrix().detach()
    target[:, 0] *= torch.det(target) * torch.det(projection.matrix().detach())
    start = torch.det(projection.matrix())
    optimiser = torch.optim.Adam(projection.parameters(), 0.03)
    for _ in range(300):
        optimiser.zero_grad()
        (projection.matrix() - target).square().sum().backward()
        optimiser.step()
        assert torch.det(projection.matrix()) * start > 0.99


def test_calls_without_a_step_change_no_bits():
    """So evaluating in between, or saving before or after a call, makes no difference."""
    torch.manual_seed(0)
    projection = OrthogonalProjection(6, 20)
    optimiser = torch.optim.Adam(projection.parameters(), 0.1)
    (projection.matrix() * torch.randn(20, 6)).sum().backward()
    optimiser.step()
    fresh = OrthogonalProjection(6, 20)
    fresh.load_state_dict(projection.state_dict())  # saved right after the step
    first = projection.matrix()
    weight = projection.weight.clone()
    assert torch.equal(projection.matrix(), projection.matrix())
    assert torch.equal(projection.weight, weight)
    assert torch.equal(fresh.matrix(), projection.matrix())
    assert torch.allclose(first, projection.matrix(), atol=1e-6)


def test_lengths_and_angles_are_kept():
    h = torch.randn(10, 16)
    z = OrthogonalProjection(16, 40)(h)
    assert torch.allclose(z @ z.T, h @ h.T, atol=1e-4)


def test_fp32_under_autocast():
    projection = OrthogonalProjection(16, 40)
    h = torch.randn(10, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = projection(h.bfloat16())
    assert inside.dtype == torch.float32
    assert torch.allclose(inside, projection(h.bfloat16().float()))
