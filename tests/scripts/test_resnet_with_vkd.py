import importlib.util
from pathlib import Path

import torch

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "resnet_with_vkd.py"


def test_ten_lines_add_distillation_to_a_resnet_s_loop(cifar100, save_images, tmp_path):
    """On real photographs of four classes both losses fall."""
    assert SCRIPT.read_text().count("# V_kD\n") <= 10
    for name in ("apple", "palm_tree", "rocket", "sea"):
        save_images(tmp_path / name, cifar100("train")[name][:24])
    spec = importlib.util.spec_from_file_location("example", SCRIPT)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    torch.manual_seed(0)
    epochs = list(example.train(str(tmp_path), epochs=3, size=32, batch=48))
    assert [epoch for epoch, *_ in epochs] == [0, 1, 2]
    first, last = epochs[0], epochs[-1]
    assert last[1] < 0.9 * first[1]
    assert last[2] < first[2]
