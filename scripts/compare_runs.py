"""Put runs side by side: a table of their figures, and curves of their overfitting.

Usage: python scripts/compare_runs.py CURVES.png RUN...

Prints a Markdown table from each run's newest eval/*.json (write it with `gan-vkd eval RUN`) and
draws, over the iterations, D's mean logit on training minus held-out images, and the standard
deviation of its logits (near 0: D is dead). Refuses runs that were judged by different protocols.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

METRICS = ("fid", "kid", "inception_score", "precision", "recall", "density", "coverage")
CURVES = {"overfitting": "D(training) - D(held-out)", "logit_std_held_out": "std of D(held-out)"}
SAME = ("reference", "reference_count", "prdc_count", "judged_count", "nearest_k", "latent_seed")


def newest_result(run: Path) -> dict:
    files = sorted((run / "eval").glob("*.json"), key=lambda file: file.stat().st_mtime)
    if not files:
        sys.exit(f"{run}: not judged yet: gan-vkd eval {run}")
    return json.loads(files[-1].read_text())


def table(runs: list[Path]) -> str:
    results = [newest_result(run) for run in runs]
    protocols = {(r["extractor"], *(r["protocol"][key] for key in SAME)) for r in results}
    if len(protocols) > 1:
        sys.exit(f"these runs were judged by different protocols: {protocols}")
    extractor = results[0]["extractor"]
    head = ["run", *(f"{name}[{extractor}]" for name in METRICS)]
    rows = [head, ["---"] * len(head)]
    for run, result in zip(runs, results, strict=True):
        rows.append([run.name, *(f"{result['metrics'][name]['value']:.3g}" for name in METRICS)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def draw(runs: list[Path], place: Path) -> None:
    figure, axes = pyplot.subplots(1, len(CURVES), figsize=(11, 3.6), layout="constrained")
    for axis, (key, label) in zip(axes, CURVES.items(), strict=True):
        for run in runs:
            lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
            axis.plot([x["iteration"] for x in lines], [x[key] for x in lines], label=run.name)
        axis.set(xlabel="iteration", ylabel=label)
        axis.legend(frameon=False)
    figure.savefig(place, dpi=100)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    arms = [Path(argument) for argument in sys.argv[2:]]
    print(table(arms))
    draw(arms, Path(sys.argv[1]))
