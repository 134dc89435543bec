import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from gan_vkd.distill.backbones import CLIP


def build(spec: str) -> torch.nn.Module:
    zoo, _, name = spec.partition(":")
    if zoo == "torchvision":
        return torchvision.models.get_model(name, weights=None)
    return timm.create_model(name or CLIP)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A zoo's real architecture by its spec, at random weights, and the file that holds them."""
    folder, made = tmp_path_factory.mktemp("weights"), {}

    def get(spec):
        if spec not in made:
            model = build(spec).eval()
            with torch.no_grad():  # no zeros and ones, which would hide what is not loaded
                for tensor in model.state_dict().values():
                    if tensor.is_floating_point() and tensor.ndim == 1:
                        tensor.add_(0.02 * torch.rand_like(tensor))
            path = folder / f"{len(made)}.safetensors"
            save_file(model.state_dict(), path)
            made[spec] = model, path
        return made[spec]

    yield get
    for _, path in made.values():  # hundreds of megabytes
        path.unlink()
