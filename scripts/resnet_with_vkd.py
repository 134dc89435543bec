"""Train torchvision's ResNet-18 on a folder of images (<class>/*). Lines marked V_kD are what
distillation adds to a plain loop.

    python scripts/resnet_with_vkd.py FOLDER --epochs 3
"""

import argparse
from collections.abc import Iterator

import torch
import torch.nn.functional as F
import torchvision
from torchvision.transforms import v2

from gan_vkd import VkDLoss  # V_kD
from gan_vkd.distill.teachers import load_teacher  # V_kD


def train(folder: str, epochs: int, size: int = 64, batch: int = 64) -> Iterator[tuple]:
    """Yields (epoch, cross-entropy, V_kD loss), means over an epoch."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    to_tensor = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((size, size)),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),  # to -1..1
        ]
    )
    images = torchvision.datasets.ImageFolder(folder, to_tensor)
    loader = torch.utils.data.DataLoader(images, batch, shuffle=True, drop_last=True)
    model = torchvision.models.resnet18(num_classes=len(images.classes)).to(device)
    features = {}  # V_kD
    model.avgpool.register_forward_hook(lambda *of: features.update(h=of[-1].flatten(1)))  # V_kD
    teacher = load_teacher("efficientnet-lite0", 64).to(device)  # V_kD
    vkd = VkDLoss(model.fc.in_features, teacher.dim).to(device)  # V_kD
    parameters = list(model.parameters())
    parameters += vkd.parameters()  # V_kD
    optimiser = torch.optim.AdamW(parameters, 1e-3)
    for epoch in range(epochs):
        sums = torch.zeros(2)
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            task = F.cross_entropy(model(x), y)
            loss = task
            distillation = vkd(features["h"], teacher(x))  # V_kD
            loss = loss + 0.1 * distillation  # V_kD
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            sums += torch.tensor([task.item(), distillation.item()])
        yield epoch, *(sums / len(loader)).tolist()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    for epoch, task, distillation in train(arguments.folder, arguments.epochs):
        print(f"epoch {epoch}: cross-entropy {task:.3f}, V_kD {distillation:.3f}")
