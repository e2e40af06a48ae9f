"""Whether decided results can be a random sample of those that were scored."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mira_batch.evaluate.statistics import StatisticsError, read_values

_DRAWS = 10_000
_AT_ONCE = 1 << 21
"""Numbers that are drawn at once, so that memory doesn't grow with decisions."""


def check_random_sample(chosen: ArrayLike, everything: ArrayLike, *, seed: int) -> None:
    """Refuse what no random sample looks like: only best or worst ones, or closest calls first.

    Looked at are the mean score, and how far scores lie from the median of all. Of a random sample each is
    off by more than in all of 10,000 samples that are drawn with a chance of 1 in 10,000. They are drawn with
    replacement, which scatters a little more. A sample that passes may still be none: scores alone show only
    so much.

    Args:
        chosen: scores of the decided results, shape [decisions].
        everything: of all scored results, the decided ones among them, shape [results].
        seed: of the draws.

    Raises:
        StatisticsError: it is no random sample; or there are no scores, or one is NaN.
    """
    sample, scores = read_values(chosen, "score"), read_values(everything, "score")
    away = abs(scores - np.median(scores))
    measures = {
        "score {:.3f} on the mean": (scores, sample),
        "lie {:.3f} from the middle score": (away, abs(sample - np.median(scores))),
    }
    furthest = dict.fromkeys(measures, 0.0)
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // len(sample))
    for start in range(0, _DRAWS, step):
        drawn = rng.integers(len(scores), size=(min(step, _DRAWS - start), len(sample)))
        for what, (each, _) in measures.items():
            off = float(np.abs(each[drawn].mean(1) - each.mean()).max())
            furthest[what] = max(furthest[what], off)
    for what, (each, found) in measures.items():
        if abs(found.mean() - each.mean()) > furthest[what] + 1e-9:
            raise StatisticsError(
                f"The decided results {what.format(found.mean())}, all results {each.mean():.3f}: none of "
                f"{_DRAWS:,} random samples of {len(sample):,} is so far off. So they are no random sample, "
                "and say nothing of the others. Decide on results as `report --review` draws them"
            )
