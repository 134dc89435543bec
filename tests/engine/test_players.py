import pytest
import torch
from torch import nn

from gan_vkd.engine.players import Player, below


def player(lr: float = 0.1) -> Player:
    torch.manual_seed(0)
    modules = {"a": nn.Linear(3, 2), "b": nn.Conv2d(2, 4, 3).to(memory_format=torch.channels_last)}
    return Player(modules, lr, (0.0, 0.999))


def loss(of: Player) -> torch.Tensor:
    return sum(
        (p - 1).square().sum() for module in of.modules.values() for p in module.parameters()
    )


def test_a_step_goes_down_the_gradient_of_its_own_loss_alone():
    one = player()
    weight = one.modules["a"].weight
    for _ in range(3):
        before = weight.detach().clone()
        one.descend(loss(one))
        assert torch.allclose(weight.grad, 2 * (before - 1))
        assert (((weight - 1).abs() < (before - 1).abs()) | ((before - 1).abs() < 0.1)).all()


def test_the_gradients_norm_is_over_all_parameters():
    one = player()
    one.descend(loss(one))
    squares = sum(p.grad.square().sum() for m in one.modules.values() for p in m.parameters())
    assert one.gradient_norm().item() == pytest.approx(squares.sqrt().item(), rel=1e-6)


def test_a_restored_player_takes_the_same_steps():
    one, other = player(), player()
    for _ in range(3):
        one.descend(loss(one))
    other.load_state_dict(one.state_dict())
    moments = other.optimiser.state[other.modules["b"].weight]
    assert moments["exp_avg_sq"].is_contiguous(memory_format=torch.channels_last)
    one.descend(loss(one))
    other.descend(loss(other))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_below_a_prefix_are_whole_names():
    state = {"a.weight": torch.ones(1), "ab.weight": torch.zeros(1)}
    assert below(state, "a") == {"weight": torch.ones(1)}
