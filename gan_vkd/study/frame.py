"""What the pages of all studies have: question, answer, claims, curves, and all figures as JSON."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gan_vkd.bench.table import markdown
from gan_vkd.evaluation.seeds import Paired
from gan_vkd.paths import replacing
from gan_vkd.study.cells import difference_cell
from gan_vkd.study.plan import Claim
from gan_vkd.study.restore import everything_of

Judged = tuple[Claim, str, Paired | None, str]  # claim, data set or pair, difference, verdict


def write_framed(
    page: Path,
    study: Any,
    *,
    claims: str,
    found: list[str],
    pictures: Mapping[str, Path],
    protocol: list[str],
    everything: dict[str, Any],
) -> list[Path]:
    """Write a page, and beside it in a folder of its name everything as JSON.

    Args:
        page: the Markdown file.
        study: its title, question and answer.
        claims: the section of what would count as support, or nothing.
        found: the sections of what came out.
        pictures: of curves, by name, in the folder beside the page.
        protocol: the sections of how it was made.
        everything: goes into the JSON.

    Returns:
        The files.
    """
    folder, data = page.with_suffix(""), everything_of(page)
    with replacing(data) as temporary:
        temporary.write_text(json.dumps(everything, indent=1, allow_nan=False) + "\n")
    answer = ["## The answer", study.answer.strip()] if study.answer else []
    parts = [
        *(f"# {study.title}", study.question.strip(), *answer, claims),
        *("## What came out", *found),
        "## Curves" if pictures else "",
        *(f"![{name}]({folder.name}/{path.name})" for name, path in pictures.items()),
        *("## How it was made", *protocol),
        f"Every figure: [{data.name}]({folder.name}/{data.name}).",
    ]
    with replacing(page) as temporary:
        temporary.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    return [page, data, *pictures.values()]


def claims_section(judged: Iterable[Judged], where: str, at: str) -> str:
    """What would count as support, and the verdicts.

    Args:
        judged: each claim in each place.
        where: what a place is, for the table's header.
        at: which differences count, such as "last epoch".
    """
    rows = [
        [
            claim.says,
            f"{claim.metric} of {claim.arm} less {claim.against}: {claim.better}",
            place,
            difference_cell(difference),
            said,
        ]
        for claim, place, difference, said in judged
    ]
    header = ["claim", "supported where", where, "difference [95 %] (pairs)", "verdict"]
    rule = (
        "Written in the study's file before anything was trained. A claim is *supported* where the "
        f"95 % interval of the difference over seeds (paired, Student's t, {at}) lies wholly on "
        "its side of 0, *against* where it lies wholly on the other, else *not shown*, and "
        "*incomplete* before all seeds are in. Each stands for itself, uncorrected: of forty "
        "claims of which none holds, one is supported by chance."
    )
    return "\n\n".join(["## What would count as support", rule, markdown(header, rows)])
