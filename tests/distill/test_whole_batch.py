"""Two processes with half the batch each, against one with the whole batch."""

import pytest
import torch
from several import several
from torch.nn.parallel import DistributedDataParallel

from gan_vkd import VkDLoss, processes

SETTINGS = {
    "whiten": {},
    "smooth-l1": {"distance": "smooth-l1"},
    "svd": {"projection": "svd", "normalise": "none"},
}


class Student(torch.nn.Module):
    def __init__(self, options: dict):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Linear(7, 6)
        self.loss = VkDLoss(6, 9, **options)

    def forward(self, x, z):
        return self.loss(self.network(x), z)


def train(model: torch.nn.Module, rows: slice) -> dict[str, torch.Tensor]:
    """Three steps on these rows of the batches; all that is in the end."""
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    draws = torch.Generator().manual_seed(1)
    for _ in range(3):
        x, z = (torch.randn(8, dim, generator=draws)[rows] for dim in (7, 9))
        optimiser.zero_grad()
        model(x, z).backward()
        optimiser.step()
    return {name.removeprefix("module."): t.clone() for name, t in model.state_dict().items()}


def work(options: dict, out: str) -> None:
    rank = processes.rank()
    ended = train(DistributedDataParallel(Student(options)), slice(4 * rank, 4 * rank + 4))
    torch.save(ended, f"{out}/{rank}.pt")


@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_train_like_one(name, tmp_path):
    several(2, work, SETTINGS[name], str(tmp_path))
    expected = train(Student(SETTINGS[name]), slice(None))
    for rank in (0, 1):
        ended = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert ended.keys() == expected.keys()
        for key, tensor in expected.items():
            assert torch.allclose(ended[key], tensor, atol=1e-5), key
