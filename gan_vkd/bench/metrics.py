"""The metrics beside the packages they agree with, each measured in a process of its own."""

import contextlib
import io
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from gan_vkd.bench.table import machine, markdown
from gan_vkd.progress import Reporter

COUNTS = (5_000, 10_000, 50_000)
OURS_ALONE = 10_000  # above so many images prdc's distance matrices are not asked for
NEAREST_K = 5


def bench_metrics(
    counts: tuple[int, ...], *, dim: int, rounds: int, device: object, reporter: Reporter
) -> str:
    """PRDC beside prdc, and the Fréchet distance beside scipy's matrix root.

    Args:
        counts: images a side.
        dim: d, of the features.
        rounds: measurements of each, in turn.
        device: where ours computes distances.
        reporter: shows a bar.

    Returns:
        A Markdown table.
    """
    jobs: dict[tuple[str, str], tuple] = {}
    for count in counts:
        jobs["PRDC", f"{count:,}", "ours"] = (_ours, count, dim, str(device))
        if count <= OURS_ALONE:
            jobs["PRDC", f"{count:,}", "prdc"] = (_theirs, count, dim)
    jobs["Fréchet", f"d = {dim}", "ours"] = (_frechet, dim)
    jobs["Fréchet", f"d = {dim}", "scipy"] = (_scipy, dim)
    seconds: dict[tuple, list[float]] = {job: [] for job in jobs}
    peaks: dict[tuple, list[int]] = {job: [] for job in jobs}
    with reporter.bar("Metrics", rounds * len(jobs)) as bar:
        for _ in range(rounds):
            for job, (function, *arguments) in jobs.items():
                bar.advance(0, " ".join(job))
                took, peak = _apart(function, arguments)
                seconds[job].append(took)
                peaks[job] += [] if peak is None else [peak]
                bar.advance(1)
    rows = []
    for job in jobs:
        ours = (*job[:2], "ours")
        ratios = [theirs / mine for theirs, mine in zip(seconds[job], seconds[ours], strict=True)]
        rows.append(
            [
                " ".join(job),
                f"{np.median(seconds[job]):.3g}",
                "" if job == ours else f"{np.median(ratios):.2f}",
                f"{np.median(peaks[job]) / 2**30:.2f}" if peaks[job] else "-",
            ]
        )
    return (
        f"{markdown(['metric', 's', 'x ours', 'peak GiB'], rows)}\n\n{_legend(dim, rounds, device)}"
    )


def _legend(dim: int, rounds: int, device: object) -> str:
    return (
        f"k = {NEAREST_K}, {dim} features in float32, as many real as generated images, {rounds} "
        f"rounds, each measurement in a process of its own, {machine(device)}. x ours: median over "
        "rounds. peak GiB: what the process took above the features (not known on Windows)."
    )


def _apart(function: Callable, arguments: list) -> tuple[float, int | None]:
    """Seconds and bytes of a measurement in a fresh process; None where bytes are not known."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def _measured(call: Callable[[], object]) -> tuple[float, int | None]:
    before, start = _peak_resident(), time.perf_counter()
    call()
    took, after = time.perf_counter() - start, _peak_resident()
    return took, None if before is None else after - before


def _peak_resident() -> int | None:
    """The most bytes that this process has had in memory; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _features(count: int, dim: int, seed: int) -> np.ndarray:
    """Random, with a power-law spectrum."""
    features = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    features *= (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    return features


def _ours(count: int, dim: int, device: str) -> tuple[float, int | None]:
    from gan_vkd.evaluation.prdc import compute_prdc

    real, fake = _features(count, dim, 0), _features(count, dim, 1)
    return _measured(lambda: compute_prdc(real, fake, NEAREST_K, device=device))


def _theirs(count: int, dim: int) -> tuple[float, int | None]:
    import prdc

    real, fake = _features(count, dim, 0), _features(count, dim, 1)
    with contextlib.redirect_stdout(io.StringIO()):
        return _measured(lambda: prdc.compute_prdc(real, fake, NEAREST_K))


def _covariances(dim: int) -> list[np.ndarray]:
    from gan_vkd.evaluation.frechet import moments

    return [part for seed in (0, 1) for part in moments(_features(4 * dim, dim, seed))]


def _frechet(dim: int) -> tuple[float, int | None]:
    from gan_vkd.evaluation.frechet import frechet_distance

    given = _covariances(dim)
    return _measured(lambda: frechet_distance(*given))


def _scipy(dim: int) -> tuple[float, int | None]:
    from scipy.linalg import sqrtm

    _, sigma1, _, sigma2 = _covariances(dim)
    return _measured(lambda: np.trace(sqrtm(sigma1 @ sigma2)))
