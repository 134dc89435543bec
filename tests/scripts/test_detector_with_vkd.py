import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "detector_with_vkd.py"


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("detector", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def coco(tmp_path) -> Path:
    """Twelve images of one bright or dark rectangle each, wider than high."""
    draws = np.random.default_rng(0)
    content = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": 7, "name": "bright"}, {"id": 3, "name": "dark"}]
    for number in range(12):
        pixels = draws.integers(96, 160, (64, 128, 3), dtype=np.uint8)
        x, y, width, height = (int(v) for v in draws.integers(8, 40, 4))
        height = min(height, 64 - y)
        pixels[y : y + height, x : x + width] = 255 * (number % 2)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        content["images"].append({"id": 100 + number, "file_name": f"{number}.png"})
        content["annotations"].append(
            {
                "id": number,
                "image_id": 100 + number,
                "category_id": 7 if number % 2 else 3,
                "bbox": [x, y, width, height],
            }
        )
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path


def test_boxes_follow_their_images_into_the_square(example, coco):
    data = example.CocoFolder(coco, coco / "instances.json", 96)
    assert data.names == ["bright", "dark"]
    image, target = data[1]
    assert image.shape == (3, 96, 96)
    left, top, right, bottom = target["boxes"][0].round().int().tolist()
    assert target["labels"].tolist() == [1]
    assert image[:, top + 2 : bottom - 2, left + 2 : right - 2].min() > 0.99
    outside = image.clone()
    outside[:, top - 2 : bottom + 2, left - 2 : right + 2] = 0
    assert outside.max() < 0.9


def test_both_losses_fall(example, coco):
    torch.manual_seed(0)
    data = example.CocoFolder(coco, coco / "instances.json", 64)
    epochs = list(example.train(data, epochs=4, batch=4, out=coco / "detector.pt"))
    assert [epoch for epoch, *_ in epochs] == [0, 1, 2, 3]
    first, last = epochs[0], epochs[-1]
    assert last[1] < 0.9 * first[1]
    assert last[2] < first[2]
    assert "head.classification_head.cls_logits.weight" in torch.load(coco / "detector.pt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("{", "no annotations in COCO's format"),
        ('{"images": []}', "'categories'"),
        ('{"images": [], "annotations": [], "categories": []}', "no image has a box"),
        (
            '{"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "a"}],'
            ' "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]}]}',
            r"a\.png: no such image",
        ),
    ],
)
def test_bad_annotations_are_one_line(text, words, tmp_path):
    path = tmp_path / "instances.json"
    if text is not None:
        path.write_text(text)
    command = [sys.executable, SCRIPT, tmp_path, path]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert re.search(words, result.stderr.splitlines()[-1]), result.stderr
