import pytest
import torch
from torch import nn

from gan_vkd.distill.frozen import TEACHER, Frozen, TeacherMark
from gan_vkd.errors import GanVkdError


class Holder(nn.Module):
    def __init__(self, held: nn.Module):
        super().__init__()
        self.frozen, self.own = Frozen("features", held), nn.Linear(2, 2)


def test_held_modules_are_moved_and_are_no_part_of_their_holder():
    held = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    holder = Holder(held).train()
    assert {id(p) for p in holder.parameters()} == {id(p) for p in holder.own.parameters()}
    assert set(holder.state_dict()) == {"own.weight", "own.bias", "frozen._extra_state"}
    assert not any(m.training for m in held.modules())
    holder.requires_grad_(True)
    assert not any(p.requires_grad for p in held.parameters())
    assert holder.double().frozen(torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64


def test_a_state_of_other_frozen_parts_is_refused():
    torch.manual_seed(0)
    one, same, other = (Holder(nn.Linear(2, 2)) for _ in range(3))
    same.frozen = Frozen("features", one.frozen.modules_held[0])
    same.load_state_dict(one.state_dict())
    with pytest.raises(GanVkdError, match="trained on other features"):
        other.load_state_dict(one.state_dict())


def test_a_checkpoint_under_another_teacher_is_refused():
    torch.manual_seed(0)
    teacher, state = nn.Linear(2, 2), {"weight": torch.ones(2)}
    marked = TeacherMark("file:t", teacher).put(state)
    assert set(marked) == {"weight", TEACHER}
    again = nn.Linear(2, 2)
    again.load_state_dict(teacher.state_dict())
    assert TeacherMark("file:t", again).taken(marked) == state
    with pytest.raises(GanVkdError, match=r"^--teacher file:t: other weights than the run began"):
        TeacherMark("file:t", nn.Linear(2, 2)).taken(marked)


def test_without_a_teacher_nothing_is_marked_and_old_checkpoints_are_taken():
    state = {"weight": torch.ones(2)}
    assert TeacherMark("none", None).put(state) == state
    assert TeacherMark("file:t", nn.Linear(2, 2)).taken(state) == state
