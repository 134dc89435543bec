"""Recompute the tables of docs/derivations.md: the paper's supplement, section 2.4, by numbers.

Prints Markdown; every figure is a count or a threshold, so that it is the same on any machine.
"""

import torch

from gan_vkd.bench.table import markdown
from gan_vkd.distill.normalise import Whiten

DRAWS, BATCH, DIM = 200, 64, 16
TOLERANCE = 1e-9  # relative, float64


def exponential() -> str:
    rows = []
    for size in (8, 64, 512):
        for scale in (0.1, 1.0, 10.0):
            upper = scale * torch.randn(size, size).double().triu(1) / size**0.5
            skew = upper - upper.T
            rotation, identity = torch.linalg.matrix_exp(skew), torch.eye(size).double()
            columns = rotation[:, : size // 2]
            checks = (
                (rotation.T - torch.linalg.matrix_exp(-skew)).abs().max(),
                (rotation @ rotation.T - identity).abs().max(),
                (columns.T @ columns - identity[: size // 2, : size // 2]).abs().max(),
                (torch.linalg.det(rotation) - 1).abs(),
            )
            rows.append([f"{size}, {scale:g}", *("yes" if c < 1e-10 else "no" for c in checks)])
    header = ["size, scale of W", "exp(W)ᵀ = exp(-W)", "exp(W) exp(W)ᵀ = I", "PᵀP = I", "det = 1"]
    return markdown(header, rows)


def whitened(batch: int, dim: int) -> torch.Tensor:
    """Random features with ZᵀZ = I (batch > dim), or ZZᵀ = K, a simplex (batch ≤ dim)."""
    rotation = torch.linalg.qr(torch.randn(dim, dim).double()).Q
    features = torch.randn(batch, dim).double() * torch.linspace(0.3, 3, dim) @ rotation
    return Whiten()(features) / max(batch, dim) ** 0.5


def students(teacher: torch.Tensor) -> dict[str, torch.Tensor]:
    noise = torch.randn_like(teacher) / len(teacher) ** 0.5
    return {
        "random": noise,
        "small": 0.01 * noise,
        "near the teacher": teacher + 0.1 * noise,
        "near another feature": teacher.roll(1, dims=1) + 0.1 * noise,
    }


def lines(s: torch.Tensor, t: torch.Tensor) -> dict[str, bool]:
    """Each printed step of equations 4 to 6, and the correct statements, for columns z_i."""
    pairs = ~torch.eye(DIM).bool()

    def total(values: torch.Tensor) -> torch.Tensor:  # over i ≠ j; values [i, j]
        return values[pairs].sum()

    def columns(first: torch.Tensor, second: torch.Tensor, sign: int) -> torch.Tensor:
        """‖first_j + sign · second_i‖² at [i, j]."""
        return (first.T[None] + sign * second.T[:, None]).square().sum(dim=2)

    difference = s - t
    loss = difference.square().sum()
    second = total(columns(difference, difference, 1))
    apart = columns(s, t, -1)  # ‖z_j^s - z_i^t‖²
    mixed = columns(t, s, 1)  # ‖z_j^t + z_i^s‖²
    both = columns(t, t, 1)  # ‖z_j^t + z_i^t‖²
    left = s.T[None] - t.T[:, None]
    right = t.T[None] + s.T[:, None]
    inner = (left * right).sum(dim=2)
    third = total(apart + mixed - 2 * inner)
    simplified = total(apart + 2 - 2 * inner)
    cauchy = total(apart + 2 - 2 * (apart * both).sqrt())
    squared = total(apart + 2 - 2 * apart * both)
    fourth = total(apart + 2 - 4 * apart)
    fifth = total(2 - 3 * apart)

    def same(a: torch.Tensor, b: torch.Tensor) -> bool:
        return bool((a - b).abs() <= TOLERANCE * (1 + a.abs() + b.abs()))

    def at_least(a: torch.Tensor, b: torch.Tensor) -> bool:
        return bool(a >= b - TOLERANCE * (1 + a.abs() + b.abs()))

    cross = s.T @ t
    eye = torch.eye(DIM).double()
    return {
        "(4) line 1 = line 2": same(loss, second),
        "(4) line 2 = line 3": same(second, third),
        "(5) substituted: line 3 = with 2": same(third, simplified),
        "(6) line 1: Cauchy-Schwarz": at_least(simplified, cauchy),
        "(6) line 1 ≥ line 2": at_least(cauchy, squared),
        "    the same for every pair": bool((apart * both)[pairs].min() >= 1 - TOLERANCE),
        "(6) line 2 = line 3": same(squared, fourth),
        "(6) line 3 = line 4": same(fourth, fifth),
        "(6) as a whole: loss ≥ line 4": at_least(loss, fifth),
        "    line 4 > 0, so that it says more than loss ≥ 0": bool(fifth > 0),
        "A. line 2 = 2(d-2)·loss + 2‖Σ(z^s-z^t)‖²": same(
            second, 2 * (DIM - 2) * loss + 2 * difference.sum(dim=1).square().sum()
        ),
        "B. ‖Z^sᵀZ^t - I‖² ≤ loss": at_least(loss, (cross - eye).square().sum()),
        "C. ‖Z^sᵀZ^s - I‖ ≤ 2√loss + loss": at_least(
            2 * loss.sqrt() + loss, (s.T @ s - eye).norm()
        ),
    }


def bound() -> str:
    counts: dict[str, dict[str, int]] = {}
    for _ in range(DRAWS):
        teacher = whitened(BATCH, DIM)
        for name, student in students(teacher).items():
            for line, holds in lines(student, teacher).items():
                counts.setdefault(line, {}).setdefault(name, 0)
                counts[line][name] += holds
    names = list(next(iter(counts.values())))
    rows = [
        [line, *(str(by_student[name]) for name in names)] for line, by_student in counts.items()
    ]
    return markdown(["line", *names], rows)


def images_apart() -> str:
    """Statement D, of rows, for a batch smaller than the features."""
    batch, dim = DIM, BATCH
    simplex = (torch.eye(batch).double() - 1 / batch) * batch / (batch - 1)
    counts = dict.fromkeys(students(whitened(batch, dim)), 0)
    for _ in range(DRAWS):
        teacher = whitened(batch, dim)
        for name, student in students(teacher).items():
            centred = student - student.mean(dim=0)
            loss = (centred - teacher).square().sum()
            scale = (batch / (batch - 1)) ** 0.5
            holds = (centred @ centred.T - simplex).norm() <= 2 * scale * loss.sqrt() + loss
            counts[name] += bool(holds)
    header = ["line", *counts]
    statement = "D. ‖Z^sZ^sᵀ - K‖ ≤ 2√(B/(B-1))·√loss + loss"
    return markdown(header, [[statement, *(str(n) for n in counts.values())]])


if __name__ == "__main__":
    torch.manual_seed(0)
    for table in (exponential(), bound(), images_apart()):
        print(f"{table}\n")
