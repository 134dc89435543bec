"""What goes wrong in small-data GANs, said in words: the sentences under the table.

A sentence appears where chance does not explain the figure: a test of one side at the level .001
against real images (for classes at .001 over the number of classes).
"""

from scipy.stats import binom, fisher_exact

LEVEL = 0.001
NAMED = 5  # classes named in a sentence
NOTHING = (
    "No class is missing or collapsed, and no more images repeat each other, or training or "
    "reference images, than among real images."
)


def findings(result: dict) -> list[str]:
    """The sentences for a result of `evaluate`; none where nothing stands out."""
    return [
        *_classes(result["classes"]),
        *_copies(result["copies"], result["protocol"], result["extractor"]),
        *_duplicates(result["duplicates"]),
    ]


def _classes(classes: list[dict]) -> list[str]:
    sentences = []
    missing = [c["name"] for c in classes if c["judged"] == 0]
    if missing:
        sentences.append(
            f"{len(missing)} of {len(classes)} classes have no image: {_names(missing)}."
        )
    level = LEVEL / max(1, len(classes))
    low = [
        c
        for c in classes
        if c["coverage"] is not None
        and binom.cdf(round(c["coverage"] * c["real"]), c["real"], c["expected_coverage"]) < level
    ]
    if low:
        halved = sum(c["coverage"] < c["expected_coverage"] / 2 for c in low)
        low.sort(key=lambda c: c["coverage"])
        named = _names([f"{c['name']} ({c['coverage']:.2f})" for c in low])
        sentences.append(
            f"{len(low)} of {len(classes)} classes are covered less than chance allows, {halved} "
            f"of them less than half as well as by real images; lowest: {named}."
        )
    alike = [c for c in classes if c["variety"] is not None and c["variety"] < 0.5]
    if alike:
        alike.sort(key=lambda c: c["variety"])
        named = _names([f"{c['name']} ({c['variety']:.2f})" for c in alike])
        sentences.append(
            f"The images of {len(alike)} of {len(classes)} classes vary less than half as much as "
            f"real ones; least: {named}."
        )
    return sentences


def _copies(copies: dict, protocol: dict, extractor: str) -> list[str]:
    sentences, count = [], protocol["judged_count"]
    own = protocol["training"] != protocol["reference"]
    original = "training image" if own else "reference image"
    held_out = protocol["unseen_count"]
    identical = copies["identical"]
    if _more(identical["judged"], count, identical["held_out"] or 0, held_out or count):
        beside = f" ({identical['held_out']} of {held_out:,} held-out images do)" * bool(held_out)
        sentences.append(
            f"{identical['judged']:,} of {count:,} images equal a {original} pixel by pixel"
            f"{beside}."
        )
    spaces = {"features": f"{extractor}'s features", "pixels": "pixels"}
    close = {
        words: copies[space]["close"]["judged"] / count
        for space, words in spaces.items()
        if held_out
        and _more(
            copies[space]["close"]["judged"], count, copies[space]["close"]["held_out"], held_out
        )
    }
    if close:
        shares = " and ".join(f"{share:.1%} (by {words})" for words, share in close.items())
        sentences.append(
            f"{original.capitalize()}s are repeated: {shares} of the images are as close to one of "
            "them as the closest 1 % of held-out images."
        )
    return sentences


def _duplicates(found: dict) -> list[str]:
    sentences = []
    judged, real = found["count"]["judged"], found["count"]["real"]
    if _more(found["identical"]["judged"], judged, found["identical"]["real"], real):
        sentences.append(
            f"{found['identical']['judged']:,} of {judged:,} images repeat another one pixel by "
            f"pixel ({found['identical']['real']:,} of {real:,} real images do)."
        )
    if _more(found["close"]["judged"], judged, found["close"]["real"], real):
        sentences.append(
            f"Images are too alike: {found['close']['judged'] / judged:.1%} are as close to "
            "another one as the closest 1 % of real images."
        )
    return sentences


def _more(count: int, total: int, other: int, other_total: int) -> bool:
    """Whether `count` of `total` is more than `other` of `other_total`, beyond chance."""
    table = [[count, total - count], [other, other_total - other]]
    return fisher_exact(table, alternative="greater").pvalue < LEVEL


def _names(names: list[str]) -> str:
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest
