"""What is watched beside the reward, so that it isn't had by a trick: pure functions of samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

import numpy as np

from mira_batch.train.nft.samples import Sample

FACTS = {"delta_e": "collateral", "changed_share": "changed_share", "sharpness_ratio": "sharpness_ratio"}
"""Facts of fidelity that are watched, and what the means are called in the figures."""


def measure_images(samples: Sequence[Sample]) -> dict[str, float | None]:
    """Means over samples: how far the colours of what was not edited differ (CIEDE2000), the share of the
    picture that was edited, sharpness over the source's, and sharpness (variance of the Laplacian).

    Args:
        samples: of a run. A sample of which a fact can't be had is left out of its mean.
    """
    found = {
        name: [value for sample in samples if (value := sample.fidelity.get(fact)) is not None]
        for fact, name in FACTS.items()
    }
    found["sharpness"] = [sample.sharpness for sample in samples if sample.sharpness is not None]
    return {name: fmean(values) if values else None for name, values in found.items()}


def measure_diversity(samples: Sequence[Sample]) -> float | None:
    """How different the samples of a group are: the root mean square of the difference of two, in [0, 1],
    the mean over all pairs of a group, and over groups.

    Args:
        samples: of a run, as sketches of 32 x 32 pixels.

    Returns:
        None where no group has two.
    """
    groups: dict[str, list[np.ndarray]] = {}
    for sample in samples:
        if sample.sketch is not None:
            groups.setdefault(sample.group, []).append(sample.sketch)
    means = [
        fmean(float(np.sqrt(np.square(a - b).mean())) for a, b in combinations(sketches, 2))
        for sketches in groups.values()
        if len(sketches) > 1
    ]
    return fmean(means) if means else None
