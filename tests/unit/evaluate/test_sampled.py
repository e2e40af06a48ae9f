"""A sample of decided results that was not drawn at random is refused, and one that was is not."""

from __future__ import annotations

import numpy as np
import pytest

from mira_batch.evaluate.sampled import check_random_sample
from mira_batch.evaluate.statistics import StatisticsError

SCORES = np.sort(np.round(np.random.default_rng(0).beta(4, 2, 1000), 2))


@pytest.mark.parametrize("scores", [SCORES, (np.arange(1000) > 10).astype(float), np.full(1000, 0.7)])
def test_random_samples_pass(scores: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    for count in (50, 300, 1000):
        for _ in range(10):
            check_random_sample(rng.choice(scores, count, replace=False), scores, seed=1)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (SCORES[:50], "score 0.2.. on the mean, all results 0.6"),
        (SCORES[-300:], "score 0.8.. on the mean"),
        (SCORES[450:550], "lie 0.01. from the middle score"),
        (np.concatenate([SCORES[:100], SCORES[-100:]]), "from the middle score"),
    ],
    ids=["worst", "best", "closest-calls", "both-ends"],
)
def test_what_was_chosen_by_its_score_is_refused(sample: np.ndarray, words: str) -> None:
    with pytest.raises(StatisticsError, match=words):
        check_random_sample(sample, SCORES, seed=1)
