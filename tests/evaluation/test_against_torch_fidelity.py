"""`gan-vkd eval` beside torch-fidelity's own command of the same name, on real photographs."""

import json

import numpy as np
import pytest
import torch

from gan_vkd.evaluation import metrics

COUNT = 10  # the inception score has ten parts


@pytest.fixture
def inception_weights(tmp_path):
    """The real architecture at random weights, in a file."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr(torch, "load", lambda *_, **__: {})
        torch.manual_seed(0)
        network = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path="x")
        for module in network.modules():  # so that images do not all look alike to it
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@pytest.fixture
def folders(cifar100, save_images, tmp_path):
    """Two folders of photographs, one a class."""
    images = np.stack([of_class[0] for of_class in cifar100("test").values()][: 2 * COUNT])
    for number, name in enumerate(("judged", "reference")):
        save_images(tmp_path / name, images[number::2])
    return tmp_path / "judged", tmp_path / "reference"


def test_fid_is_and_kid(gan_vkd, folders, inception_weights, monkeypatch):
    from torch_fidelity import calculate_metrics

    monkeypatch.setattr(metrics, "INCEPTION_FEWEST", 1)  # few images keep this test short
    judged, reference = folders
    theirs = calculate_metrics(
        input1=str(judged),
        input2=str(reference),
        fid=True,
        kid=True,
        isc=True,
        cuda=False,
        verbose=False,
        samples_shuffle=True,
        kid_subset_size=COUNT,
        kid_subsets=100,
        rng_seed=0,
        feature_extractor_weights_path=str(inception_weights),
        cache=False,
    )
    flags = ["--reference", reference, "--extractor-weights", inception_weights, "--json", "-"]
    result = gan_vkd("eval", judged, *flags, "--quiet")
    assert result.exit_code == 0, result.output
    written = json.loads(result.stdout)
    ours = {name: metric["value"] for name, metric in written["metrics"].items()}
    assert written["extractor"] == "inception"
    pairs = {
        "fid": "frechet_inception_distance",
        "kid": "kernel_inception_distance_mean",
        "inception_score": "inception_score_mean",
    }
    for name, theirs_name in pairs.items():
        assert ours[name] == pytest.approx(theirs[theirs_name], rel=1e-4), name
