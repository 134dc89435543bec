"""Train torchvision's FCOS detector on images with annotations in COCO's format. Lines marked V_kD
are what distillation adds to a plain loop: the last map's positions learn the teacher's.

    python scripts/detector_with_vkd.py IMAGES ANNOTATIONS.json --epochs 12 --size 256
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import clip_boxes_to_image
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.transforms.v2 import functional as V

from gan_vkd import VkDLoss  # V_kD
from gan_vkd.distill.teachers import load_teacher  # V_kD


class CocoFolder(torch.utils.data.Dataset):
    """Images and boxes of an annotation file; images are resized to squares, boxes with them.

    Args:
        images: the folder that the file's names are in.
        annotations: JSON with `images`, `annotations` (bbox: x, y, width, height) and `categories`.
        size: pixels of a side.
    """

    def __init__(self, images: Path, annotations: Path, size: int):
        content = json.loads(annotations.read_text(encoding="utf-8"))
        self.folder, self.size = images, size
        self.names = [category["name"] for category in content["categories"]]
        labels = {c["id"]: n for n, c in enumerate(content["categories"], start=1)}
        self.boxes = defaultdict(list)
        for a in content["annotations"]:
            x, y, width, height = a["bbox"]
            if width > 0 and height > 0 and not a.get("iscrowd", 0):
                box = (x, y, x + width, y + height)
                self.boxes[a["image_id"]].append((box, labels[a["category_id"]]))
        self.images = [image for image in content["images"] if self.boxes[image["id"]]]
        if not self.images:
            raise ValueError("no image has a box")
        for image in self.images:
            if not (images / image["file_name"]).is_file():
                raise FileNotFoundError(f"{images / image['file_name']}: no such image")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        entry = self.images[index]
        with Image.open(self.folder / entry["file_name"]) as file:
            image = V.to_image(file.convert("RGB"))
        height, width = image.shape[-2:]
        image = V.to_dtype(V.resize(image, [self.size, self.size]), torch.float32, scale=True)
        boxes, labels = zip(*self.boxes[entry["id"]], strict=True)
        scale = torch.tensor([self.size / width, self.size / height] * 2)
        boxes = clip_boxes_to_image(torch.tensor(boxes) * scale, (self.size, self.size))
        return image, {"boxes": boxes, "labels": torch.tensor(labels)}


def train(data: CocoFolder, epochs: int, batch: int = 8, out: Path | None = None) -> Iterator:
    """Yields (epoch, detection loss, V_kD loss), means over an epoch; the detector goes to out."""
    device, size = torch.device("cuda" if torch.cuda.is_available() else "cpu"), data.size
    loader = torch.utils.data.DataLoader(
        data, batch, shuffle=True, collate_fn=lambda pairs: tuple(zip(*pairs, strict=True))
    )
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    detector = FCOS(backbone, len(data.names) + 1, min_size=size, max_size=size).to(device)
    features = {}  # V_kD
    last = detector.backbone.body["layer4"]  # V_kD
    last.register_forward_hook(lambda *of: features.update(h=of[-1]))  # V_kD
    teacher = load_teacher("efficientnet-lite0", size).to(device)  # V_kD
    vkd = VkDLoss(512, teacher.dim, normalise="layernorm", distance="smooth-l1").to(device)  # V_kD
    parameters = list(detector.parameters())
    parameters += vkd.parameters()  # V_kD
    optimiser = torch.optim.AdamW(parameters, 1e-3)
    for epoch in range(epochs):
        sums = torch.zeros(2)
        for x, targets in loader:
            x = torch.stack(x).to(device)
            targets = [{k: v.to(device) for k, v in target.items()} for target in targets]
            task = sum(detector(list(x), targets).values())
            z = teacher.features(2 * x - 1, ("map",))["map"]  # V_kD
            rows = (maps.permute(0, 2, 3, 1).flatten(0, 2) for maps in (features["h"], z))  # V_kD
            distillation = vkd(*rows)  # V_kD
            loss = task + 0.5 * distillation  # V_kD
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            sums += torch.tensor([task.item(), distillation.item()])
        if out is not None:
            torch.save(detector.state_dict(), out)
        yield epoch, *(sums / len(loader)).tolist()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--size", type=int, default=256, help="a multiple of 32")
    parser.add_argument("--out", type=Path, default=Path("detector.pt"), help="[detector.pt]")
    given = parser.parse_args()
    if given.size < 32 or given.size % 32:
        parser.error(f"--size {given.size}: a multiple of 32")
    try:
        found = CocoFolder(given.images, given.annotations, given.size)
    except FileNotFoundError as error:
        parser.error(str(error))
    except (KeyError, TypeError, ValueError) as error:
        parser.error(f"{given.annotations}: no annotations in COCO's format ({error!r})")
    for epoch, task, distillation in train(found, given.epochs, out=given.out):
        print(f"epoch {epoch}: detection {task:.3f}, V_kD {distillation:.3f}")
