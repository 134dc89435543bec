"""A few of the metrics at a small count, again and again while a run trains."""

from gan_vkd.data.images import ImageSet
from gan_vkd.data.subsets import balanced_draw
from gan_vkd.evaluation.features import Extractor, extract, run_extractor
from gan_vkd.evaluation.frechet import Gaussian
from gan_vkd.evaluation.metrics import SEED, frechet_metric, neighbour_metrics, require_enough
from gan_vkd.evaluation.neighbours import neighbourhoods
from gan_vkd.evaluation.proportions import evaluation_labels
from gan_vkd.gan.exported import ExportedGenerator
from gan_vkd.progress import QUIET, Reporter


class Curve:
    """Compares a generator's samples with one set of real images, whose features are kept.

    FID, precision, recall, density, coverage, and the two clipped ones: no IS and no KID, which
    say little at small counts.

    Args:
        reference: real images, on the CPU. Never a test split: who looks at curves, chooses.
        origin: what they are, in words.
        num: samples evaluated each time; the latents are always the same.
        nearest_k: k of the neighbourhoods.
        extractor: whose features are compared.
        reporter: told about the reference's features.

    Raises:
        GanVkdError: fewer than k + 2 images on a side.
    """

    def __init__(
        self,
        reference: ImageSet,
        origin: str,
        num: int,
        nearest_k: int,
        extractor: Extractor,
        reporter: Reporter,
    ):
        self.num, self.nearest_k, self.extractor = num, nearest_k, extractor
        self._images = reference
        compared = min(num, len(reference))
        require_enough(compared, nearest_k)
        features = extract(extractor, reference.images, origin, reporter).features
        rows = balanced_draw(reference.labels, compared, SEED)
        self._gaussian, self._drawn = Gaussian.of_features(features.numpy()), features[rows].numpy()
        self.protocol: dict[str, str | int] = {
            "extractor": extractor.name,
            "count": num,
            "reference": origin,
            "reference_count": len(reference),
            "nearest_k": nearest_k,
        }

    def measure(self, generator: ExportedGenerator) -> dict[str, float | None]:
        """The metrics of `num` samples; their labels: see `evaluation_labels`."""
        labels, _ = evaluation_labels(generator, self._images, self.num, SEED)
        images = generator.sample(self.num, labels.tolist(), SEED, batch_size=500)
        features = run_extractor(self.extractor, images, "samples", QUIET).features
        drawn = features[balanced_draw(labels, len(self._drawn), SEED)].numpy()
        found = neighbourhoods(
            self._drawn, drawn, self.nearest_k, device=self.extractor.device, reporter=QUIET
        )
        metrics = {"fid": frechet_metric(features, self._gaussian), **neighbour_metrics(found)}
        return {name: metric.value for name, metric in metrics.items()}
