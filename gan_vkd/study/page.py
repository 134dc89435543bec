"""A study's page: what was asked, what would count, what came out, and how it was made."""

from collections import Counter
from itertools import chain
from pathlib import Path

import yaml

from gan_vkd.bench.table import markdown
from gan_vkd.config.core import Recipe
from gan_vkd.study.cells import (
    difference_cell,
    found_table,
    listed,
    number_cell,
    spread_cell,
)
from gan_vkd.study.frame import claims_section, write_framed
from gan_vkd.study.picture import curves_picture
from gan_vkd.study.plan import Study
from gan_vkd.study.restore import refuse_loss
from gan_vkd.study.results import LOGGED, METRICS, Results

SHORT = {"clipped_density": "clipped dens.", "clipped_coverage": "clipped cov."}
SHORT |= {"gradient_ratio": "gradient ratio", "fit_held_out": "R² held-out"}


def write_page(results: Results, page: Path) -> list[Path]:
    """Write the page, and beside it in a folder of its name everything as JSON and the curves.

    Returns:
        The files.

    Raises:
        GanVkdError: the page there has results that are not among these.
    """
    everything = results.as_json()
    refuse_loss(page, results.work, {*everything["trained"], *everything["judged_on"]})
    study, pictures = results.study, {}
    for dataset in study.datasets:
        for metric in study.curves:
            path = page.with_suffix("") / f"{Path(dataset).stem}-{metric}.png"
            curves = results.curves(dataset, study.extractors[0], metric)
            curves_picture(curves, study.baseline, metric, path)
            pictures[f"{dataset}, {metric}"] = path
    extractor = study.extractors[0]
    judged = [
        (claim, dataset, *results.claimed(dataset, extractor, claim))
        for claim in study.claims
        for dataset in study.datasets
    ]
    return write_framed(
        page,
        study,
        claims=claims_section(judged, "data", f"at the last checkpoint, by {extractor}"),
        found=[*_tables(results), *_agreement(results)],
        pictures=pictures,
        protocol=_protocol(results),
        everything=everything,
    )


def _tables(results: Results) -> list[str]:
    study, parts = results.study, []
    for dataset in study.datasets:
        for number in reversed(study.checkpoints):
            for name in study.extractors:
                metrics = [*METRICS, *LOGGED]
                header = ["arm", *(SHORT.get(metric, metric) for metric in metrics)]
                place = (dataset, number, name)
                spread = {metric: results.spread(*place, metric) for metric in metrics}
                if not any(found for of in spread.values() for found in of.values()):
                    continue
                change = {metric: results.differences(*place, metric) for metric in metrics}
                rows = [
                    [arm, *(spread_cell(spread[metric][arm]) for metric in metrics)]
                    for arm in study.arms
                ]
                real = {m: results.held_out(dataset, name, m) for m in metrics}
                if any(value is not None for value in real.values()):
                    shown = ("-" if v is None else number_cell(v) for v in real.values())
                    rows.append(["held-out real images", *shown])
                others = [arm for arm in study.arms if arm != study.baseline]
                less = [
                    [arm, *(difference_cell(change[metric][arm]) for metric in metrics)]
                    for arm in others
                ]
                parts += [
                    f"### {dataset}, {number:,} iterations [{name}]",
                    "Mean ± standard deviation over seeds (seeds):",
                    found_table(header, rows),
                    f"Less {study.baseline}, seed by seed: mean [95 % interval] (pairs):",
                    found_table(header, less),
                ]
    return parts


def _agreement(results: Results) -> list[str]:
    rows = [
        [dataset, " and ".join(pair), f"{next(iter(found.values()))[1]}"]
        + ["-" if found[m][0] is None else number_cell(found[m][0]) for m in METRICS]
        for dataset in results.study.datasets
        for pair, found in results.agreement(dataset).items()
    ]
    if not rows:
        return []
    header = ["data", "extractors", "generators", *(SHORT.get(m, m) for m in METRICS)]
    return [
        "## Agreement of the extractors",
        "Spearman's rank correlation over all generators that both have evaluated:",
        markdown(header, rows),
    ]


def _protocol(results: Results) -> list[str]:
    study = results.study
    recipe = _taught(study)
    training, last = recipe.training, study.checkpoints[-1]
    shares = ", ".join(f"{spec} at {share:g}" for spec, share in study.datasets.items())
    iterations = ", ".join(f"{number:,}" for number in study.checkpoints)
    machines = Counter(note["machine"] for note in results.notes.values())
    judges = Counter(result["machine"] for result in results.judgements.values())
    units, missing = study.units(), results.missing
    facts = [
        f"Data: {shares} (share of the training images; the seed draws the photographs too).",
        f"Runs: {len(units)}, of {len(study.arms)} arms under the seeds "
        f"{', '.join(map(str, study.seeds))}; preset {study.preset}, {last:,} iterations of "
        f"{training.d_steps} steps of D and one of G, batch {training.batch_size}, judged after "
        f"{iterations}.",
        f"Teacher: {recipe.teacher.spec} where an arm names no other.",
        f"Judged: {study.num:,} samples of the exported generator, labels in the data's "
        f"proportions, one latent seed, by {', '.join(study.extractors)}, against the whole "
        "training split; the neighbours' metrics with k = 5 and as many real images.",
        "overfitting: D's mean logit on training less held-out "
        "images, at most 256 of each. gradient ratio: V_kD's pull on D's features over the "
        "adversarial one's. R² held-out: of the targets of held-out images. All three are means of "
        "the last five lines of the log.",
        f"Trained on {_counted(machines, 'checkpoints')}; judged on {_counted(judges, 'results')}.",
        f"Without their last checkpoint: {listed(missing)}.",
    ]
    facts += [f"Failed: {unit}: {line}" for unit, line in results.failures.items()]
    settings = {"common": study.common, "arms": study.arms}
    command = f"    scripts/reproduce {study.name}"
    return [
        "\n".join(f"- {fact}" for fact in facts),
        "\n".join([f"{command} --train", f"{command} --judge", f"{command} --report"]),
        "Seconds of training a run, beside as many others as were started:",
        found_table(
            ["arm", *machines],
            [
                [arm, *(spread_cell(results.seconds(arm, machine)) for machine in machines)]
                for arm in study.arms
            ],
        ),
        "Settings, over the preset's:",
        f"```yaml\n{yaml.safe_dump(settings, sort_keys=False)}```",
    ]


def _taught(study: Study) -> Recipe:
    """The recipe of the first arm that has a teacher, else of the first."""
    recipes = (study.recipe(unit, study.checkpoints[-1], {}) for unit in study.units())
    first = next(recipes)
    return next((r for r in chain([first], recipes) if r.teacher.spec != "none"), first)


def _counted(names: Counter, what: str) -> str:
    return ", ".join(f"{name} ({count} {what})" for name, count in names.items()) or "nothing yet"
