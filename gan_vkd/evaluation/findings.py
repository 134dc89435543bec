"""Findings: sentences under the table that name common faults of GANs on few images.

A sentence appears where chance does not explain the figure. Each has a probability of at most .001
where the judged images are drawn like the real ones, independently of them and of each other (the
real ones may resemble each other in any way): for classes and duplicates by relabelling, see
`chance`; for copies and traces of augmentation, where an image counts or not whatever the other
ones are, by Fisher's exact test. Of the classes in a sentence one in a thousand is expected to be
named for nothing. A class that was to have images and has none is told as a fact, and so are images
equal to training images where there are no held-out ones to compare with (ten in a few hundred).
"""

from scipy.stats import fisher_exact

from gan_vkd.evaluation.metrics import INCEPTION_FEWEST

LEVEL = 0.001
NAMED = 5  # classes named in a sentence
SIDES = ("judged", "reference")
LEAKS = {
    "holes": "a sharp-cornered patch of one colour, as cutout leaves it",
    "borders": "a border of one colour, as translation leaves it",
}
LEAST_LEAK = 0.01  # of the images, for a sentence


def sentences(result: dict) -> list[str]:
    """The sentences under the table: findings, or that there are none, and what is untested."""
    said = [f"- {sentence}" for sentence in result["findings"]] or [_nothing(result)]
    said += [f"Not tested: {what}." for what in untested(result)]
    ours, theirs = (result["protocol"].get(f"{side}_compression") for side in SIDES)
    if None not in (ours, theirs) and ours != theirs:
        said.append(
            f"The two sides are compressed differently (images: {ours}; reference: {theirs}). "
            "Compression alone changes the metrics: compress both sides alike."
        )
    return said


def _nothing(result: dict) -> str:
    """The sentence for a result without findings."""
    parts = []
    if result["duplicates"] is not None:
        parts.append("no more images repeat each other than among real images")
    if any(c["coverage_q"] is not None for c in result["classes"]):
        parts.append("no class that was tested is missing or collapsed")
    original = _original(result["protocol"])
    if result["copies"] is None:
        pass
    elif result["protocol"]["unseen_count"]:
        parts.append(f"no more images repeat {original}s than among held-out images")
    else:
        parts.append(f"no unlikely number of images equals a {original} pixel by pixel")
    if result.get("leaks") is not None:
        parts.append("no trace of augmentation")
    if not parts:
        return "No finding was tested."
    return f"{parts[0].capitalize()}{''.join(f'; {part}' for part in parts[1:])}."


def untested(result: dict) -> list[str]:
    """What the result does not test, and why."""
    classes, protocol = result["classes"], result["protocol"]
    parts = []
    if protocol["judged_count"] < INCEPTION_FEWEST:
        parts.append(f"the inception score, which takes {INCEPTION_FEWEST} images or more")
    if result["duplicates"] is None:
        parts.append(
            "KID, precision, recall, density, coverage, classes and repetitions (the reference's "
            "statistics hold no features)"
        )
    elif not classes:
        parts.append("classes (the reference has one)")
    idle = [c["name"] for c in classes if c["judged"] == 0 and not _missing(c)]
    if idle:
        parts.append(
            f"{len(idle)} of {len(classes)} classes, which were to have no image among "
            f"{protocol['judged_count']:,}: {_names(idle)}"
        )
    few = [c["name"] for c in classes if c["judged"] != 0 and c["coverage_q"] is None]
    if few:
        parts.append(
            f"{len(few)} of {len(classes)} classes, of too few images for k = "
            f"{protocol['nearest_k']}: {_names(few)}"
        )
    if result["copies"] is None:
        parts.append("whether images repeat reference images (statistics hold no images)")
    elif not protocol["unseen_count"]:
        parts.append(
            f"whether images repeat {_original(protocol)}s with small changes (there are no "
            "held-out images to compare with)"
        )
    if "leaks" in result and result["leaks"] is None:
        parts.append("whether augmentation leaks into images (statistics hold no images)")
    elif "leaks" in result and result["leaks"]["colours"] is None:
        parts.append(
            "whether augmentation of colours leaks into images, which takes 1,000 of them and "
            "2,000 real ones"
        )
    return parts


def _missing(figures: dict) -> bool:
    return figures["judged"] == 0 and figures.get("asked", True)  # results of old have no `asked`


def _original(protocol: dict) -> str:
    """What may have been copied: the training images or, if unknown, the reference."""
    own = protocol["training"] != protocol["reference"]
    return "training image" if own else "reference image"


def findings(result: dict) -> list[str]:
    """The sentences for a result of `evaluate`; none where nothing stands out."""
    return [
        *_classes(result["classes"]),
        *_copies(result["copies"], result["protocol"], result["extractor"]),
        *_preference(result.get("memorisation"), result["protocol"], result["extractor"]),
        *_duplicates(result["duplicates"]),
        *_leaks(result.get("leaks")),
    ]


def _classes(classes: list[dict]) -> list[str]:
    sentences = []
    missing = [c["name"] for c in classes if _missing(c)]
    if missing:
        sentences.append(
            f"{len(missing)} of {len(classes)} classes have no image: {_names(missing)}."
        )
    low = [c for c in classes if c["coverage_q"] is not None and c["coverage_q"] <= LEVEL]
    if low:
        halved = sum(c["coverage"] < c["expected_coverage"] / 2 for c in low)
        low.sort(key=lambda c: c["coverage"])
        named = _names([f"{c['name']} ({c['coverage']:.2f})" for c in low])
        sentences.append(
            f"{len(low)} of {len(classes)} classes are covered less than chance allows, {halved} "
            f"of them less than half as well as by real images; lowest: {named}."
        )
    alike = [
        c
        for c in classes
        if c["variety"] is not None and c["variety"] < 0.5 and c["variety_q"] <= LEVEL
    ]
    if alike:
        alike.sort(key=lambda c: c["variety"])
        named = _names([f"{c['name']} ({c['variety']:.2f})" for c in alike])
        sentences.append(
            f"The images of {len(alike)} of {len(classes)} classes vary less than half as much as "
            f"real ones; least: {named}."
        )
    return sentences


def _copies(copies: dict | None, protocol: dict, extractor: str) -> list[str]:
    if copies is None:
        return []
    sentences, count = [], protocol["judged_count"]
    original = _original(protocol)
    held_out = protocol["unseen_count"]

    def more(found: dict, level: float) -> bool:
        """Whether more are found among the judged images than among held-out ones."""
        other, of = (found["held_out"], held_out) if held_out else (0, count)
        table = [[found["judged"], count - found["judged"]], [other, of - other]]
        return fisher_exact(table, alternative="greater").pvalue <= level

    identical = copies["identical"]
    if more(identical, LEVEL):
        mirrored = identical["mirrored"]["judged"]
        kind = f" or its mirror image pixel by pixel, {mirrored:,} of them mirrored"
        beside = f" ({identical['held_out']} of {held_out:,} held-out images do)" * bool(held_out)
        sentences.append(
            f"{identical['judged']:,} of {count:,} images equal a {original}"
            f"{kind if mirrored else ' pixel by pixel'}{beside}."
        )
    spaces = {"features": f"{extractor}'s features", "pixels": "pixels"}
    shares = [
        f"{copies[space]['close']['judged'] / count:.1%} (by {words}, "
        f"{copies[space]['mirrored']['judged'] / count:.1%} mirrored)"
        for space, words in spaces.items()
        if held_out and more(copies[space]["close"], LEVEL / len(spaces))
    ]
    if shares:
        sentences.append(
            f"{original.capitalize()}s are repeated: {' and '.join(shares)} of the images are as "
            "close to one of them or its mirror image as the closest 1 % of held-out images."
        )
    return sentences


def _preference(memorised: dict | None, protocol: dict, extractor: str) -> list[str]:
    """Nothing without held-out images, and for results of old."""
    found = memorised and memorised["preference"]
    spaces = {"features": f"{extractor}'s features", "pixels": "pixels"}
    shares = [
        f"{found[space]['value']:.1%} (by {words})"
        for space, words in spaces.items()
        if found and found[space]["p"] <= LEVEL / len(spaces)
    ]
    if not shares:
        return []
    return [
        f"Images lie nearer to {_original(protocol)}s: {' and '.join(shares)} of them have one as "
        f"their nearest real image among {found['count']:,} of those and {found['count']:,} "
        "held-out ones, where 50 % would."
    ]


def _duplicates(found: dict | None) -> list[str]:
    if found is None:
        return []
    sentences = []
    judged, real = found["count"]["judged"], found["count"]["real"]
    if found["p"]["identical"] <= LEVEL:
        sentences.append(
            f"{found['identical']['judged']:,} of {judged:,} images repeat another one pixel by "
            f"pixel ({found['identical']['real']:,} of {real:,} real images do)."
        )
    if found["p"]["close"] <= LEVEL:
        sentences.append(
            f"Images are too alike: {found['close']['judged'] / judged:.1%} are as close to "
            "another one as the closest 1 % of real images."
        )
    return sentences


def _leaks(found: dict | None) -> list[str]:
    """Nothing where statistics stand for real images, and for results of old."""
    if found is None:
        return []
    count, colours = found["count"], found["colours"]
    sentences = [
        f"Augmentation leaks: {_percent(found[name], count, 'judged')} of the images have {what} "
        f"({_percent(found[name], count, 'real')} of the real ones do)."
        for name, what in LEAKS.items()
        if _share_of(found[name], count, 1.0) >= LEAST_LEAK
    ]
    if colours is not None:
        share = _share_of(colours, colours["count"], colours["caught"])
        if share >= LEAST_LEAK:
            sentences.append(
                f"Augmentation leaks, or colours are off: about {share:.0%} of the images have "
                "colours as after a change of brightness, contrast, saturation or hue."
            )
    return sentences


def _percent(found: dict, count: dict, side: str) -> str:
    return f"{found[side] / count[side]:.1%}"


def _share_of(found: dict, count: dict, caught: float) -> float:
    """The share of judged images with a trace, of which that of `caught` is found; 0 by chance."""
    table = [[found[side], count[side] - found[side]] for side in ("judged", "real")]
    if fisher_exact(table, alternative="greater").pvalue > LEVEL:
        return 0.0
    judged, real = (found[side] / count[side] for side in ("judged", "real"))
    return min(1.0, (judged - real) / max(caught - real, judged - real))


def _names(names: list[str]) -> str:
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest
