"""Bootstrap of OOD metrics over images, by source group, ID and OOD apart.

Crops of one source image are not independent images; resampling them one by one makes intervals
too narrow (on 24 crops a source, an FPR95 of .650 has [.630, .671] over crops and [.599, .703]
over sources).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from study.records.files import VAL_ID
from study.records.scores import SetScores
from study.scoring.intervals import Interval, Scale, image_interval, percentile_interval
from study.scoring.measuring import OOD_METRICS, resampled_metrics
from study.scoring.metrics import METRICS
from study.scoring.ranking import Weights, bootstrap_counts
from study.seeding import numpy_generator

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]
NUM_RESAMPLES = 1000
# Resamples in memory at once: 250 x 36,000 images in int32 are 36 MB.
_CHUNK = 250


class Resampler:
    """The resamples of one validation (or test) split: the same draws for every model.

    Each set has its own named stream, so ID and OOD are drawn apart, two models that scored
    the same images share each resample (their differences are paired), and leaving one set out
    changes no draw of another.
    """

    def __init__(
        self, groups: Mapping[str, NDArray[np.bytes_]], num: int = NUM_RESAMPLES, seed: int = 0
    ) -> None:
        """Prepare.

        Args:
            groups: set name -> source group of each image, (N,) bytes.
            num: number of resamples, at least 1.
            seed: of the study; the draws follow from it and the set's name.
        """
        self.num, self.seed = num, seed
        # As integers: the draws sort the labels in every chunk.
        self.groups = {name: np.unique(g, return_inverse=True)[1] for name, g in groups.items()}

    @classmethod
    def of(
        cls, sets: Mapping[str, SetScores], num: int = NUM_RESAMPLES, seed: int = 0
    ) -> Resampler:
        """Prepare for the sets of a scores file."""
        return cls({name: one.group for name, one in sets.items()}, num, seed)

    def num_groups(self, name: str) -> int:
        """Number of source groups of a set."""
        return int(self.groups[name].max()) + 1

    def weights(self, names: Sequence[str]) -> Iterator[dict[str, Weights]]:
        """``chunks`` as weightings of the images."""
        for counts in self.chunks(names):
            yield {name: Weights.of(one) for name, one in counts.items()}

    def num_sources(self, id_name: str, ood_sets: Sequence[str] = ()) -> int:
        """Sources that a number varies with: of the class that has fewer.

        The mean over several OOD sets varies with all of theirs.
        """
        own = self.num_groups(id_name)
        others = sum(self.num_groups(name) - 1 for name in ood_sets) + 1
        return min(own, others) if ood_sets else own

    def chunks(self, names: Sequence[str]) -> Iterator[dict[str, Counts]]:
        """Counts of the named sets, (b, N) each, until all resamples were given."""
        streams = {name: numpy_generator(self.seed, "bootstrap", name) for name in names}
        for start in range(0, self.num, _CHUNK):
            size = min(_CHUNK, self.num - start)
            yield {
                name: bootstrap_counts(self.groups[name], size, streams[name]) for name in names
            }


def interval_of(
    metric: str,
    point: float,
    values: Floats,
    num_sources: int,
    *,
    difference: bool = False,
    num_seeds: int = 0,
    deviations: Floats | None = None,
) -> Interval:
    """95 % interval of a metric, or of its difference between two models, from its resamples.

    Args:
        metric: of ``study.scoring.metrics``.
        point: on all images.
        values: of the resamples, (B,).
        num_sources: see ``Resampler.num_sources``.
        difference: whether it is one between models.
        num_seeds: over how many models it is a mean, of several.
        deviations: what the draw of these seeds added to each resample, (B,).
    """
    one, there = METRICS[metric], np.isfinite(values)
    added = np.zeros_like(values) if deviations is None else deviations
    values, added = values[there], added[there]
    if not len(values) or not np.isfinite(point):  # such as errors where there are none
        return Interval(float("nan"), float("nan"))
    if not one.fraction:
        return percentile_interval(values)
    scale: Scale = "difference" if difference else "area" if one.area else "share"
    spread = max(float(values.var()), 1e-300)
    share = min(float(added.var()) / spread, 1.0)
    return image_interval(point, values, num_sources, scale, num_seeds=num_seeds, of_seeds=share)


def metrics_of_models(
    models: Mapping[str, Mapping[str, Floats]],
    resampler: Resampler,
    *,
    id_name: str = VAL_ID,
    metrics: Sequence[str] = OOD_METRICS,
) -> dict[str, dict[str, dict[str, Floats]]]:
    """Metrics of several models on the same resamples.

    Args:
        models: model -> set name -> scores (N,); every model scored the same sets and images.
        resampler: draws of those sets.
        id_name: which of the sets is ID.
        metrics: of ``OOD_METRICS``.

    Returns:
        Model -> OOD set -> metric -> (B,) values.
    """
    names = list(next(iter(models.values())))
    ood = [name for name in names if name != id_name]
    parts: dict[tuple[str, str, str], list[Floats]] = {}
    for counts in resampler.chunks(names):
        for model, sets in models.items():
            for name in ood:
                values = resampled_metrics(
                    sets[id_name], sets[name], counts[id_name], counts[name], metrics
                )
                for metric, value in values.items():
                    parts.setdefault((model, name, metric), []).append(value)
    return {
        m: {o: {x: np.concatenate(parts[m, o, x]) for x in metrics} for o in ood} for m in models
    }


def resampled_accuracy(
    correct: Mapping[str, NDArray[np.bool_]], resampler: Resampler, id_name: str = VAL_ID
) -> dict[str, Floats]:
    """Accuracy of several models on the same resamples of the ID set: model -> (B,)."""
    parts: dict[str, list[Floats]] = {model: [] for model in correct}
    for counts in resampler.chunks([id_name]):
        total = counts[id_name].sum(axis=1)
        for model, right in correct.items():
            parts[model].append(counts[id_name] @ right.astype(np.float64) / total)
    return {model: np.concatenate(values) for model, values in parts.items()}
