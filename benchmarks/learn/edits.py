"""What the editor's half of a chain reads: pairs to learn from, and samples with what is said of them."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import UserError
from mira_batch.core.identity import content_hash, frame_of
from mira_batch.core.ports import JudgeRequest
from mira_batch.storage.run.results import read_outputs
from mira_batch.train.grpo.rollouts import read_scores
from mira_batch.train.world.editor_pairs import Pair, draw_pair
from mira_batch.train.world.edits import say_edit
from mira_batch.train.world.instructions import read_goal
from mira_batch.train.world.scenes import SMALL, Scene
from mira_batch.train.world.tasks import Split, Task, find_split

Name = tuple[str, int]
"""A record, and the number of its rollout."""


def draw_pairs(split: Split, count: int, seed: int) -> Iterator[Pair]:
    """So many different pairs of a part; what comes of those to learn from is of no held-out part either.

    Args:
        split: which part.
        count: how many.
        seed: another one draws others of the same part.
    """
    rng, seen = random.Random(f"learn-pairs/1 {split} {seed}"), set[tuple[Scene, str]]()
    while len(seen) < count:
        pair = draw_pair(rng, SMALL, split)
        key = pair.source, say_edit(pair.edit)
        held_out = split == "train" and find_split(*map(str, pair.target.cells)) != "train"
        if not held_out and key not in seen:
            seen.add(key)
            yield pair


def read_truth(run_of: str, evaluation: str) -> dict[Name, float]:
    """The score of each sample of a run.

    Args:
        run_of: its directory, to see that none is missing.
        evaluation: directory of the evaluation.

    Raises:
        UserError: a sample failed, or has no score.
    """
    found, _ = read_scores(evaluation, StorageConfig())
    rows = read_outputs(run_of, columns=["record_id", "rollout", "status"]).to_pylist()
    scores: dict[Name, float] = {}
    for row in rows:
        name = row["record_id"], row["rollout"] or 0
        scored = found.get(name)
        if row["status"] == "failed" or scored is None or scored.score is None:
            raise UserError(f"{evaluation}: {name[0]} has no score; what is not known is no figure")
        scores[name] = scored.score
    return scores


def read_requests(run_of: str, manifest: Path) -> dict[Name, JudgeRequest]:
    """What a judge is asked of each sample of a run.

    Args:
        run_of: its directory.
        manifest: its tasks.
    """
    tasks = {row["record_id"]: row for row in pq.read_table(manifest).to_pylist()}
    columns = ["record_id", "rollout", "image"]
    found: dict[Name, JudgeRequest] = {}
    for row in read_outputs(run_of, columns=columns).to_pylist():
        task = tasks[row["record_id"]]
        original, candidate = (
            frame_of(Image.open(io.BytesIO(each["image"]["bytes"])).convert("RGB")) for each in (task, row)
        )
        found[row["record_id"], row["rollout"] or 0] = JudgeRequest(
            row["record_id"], task["instruction"], original, candidate, task["instruction"]
        )
    return found


def count_agreed(truth: Mapping[Name, float], said: Mapping[Name, float]) -> tuple[int, float]:
    """Pairs of samples of a record that the truth tells apart, and of how many of them the judge says the
    same; where it says neither, half.

    Args:
        truth, said: of the same samples.
    """
    of: dict[str, list[Name]] = {}
    for name in truth:
        of.setdefault(name[0], []).append(name)
    pairs, agreed = 0, 0.0
    for names in of.values():
        for one, other in combinations(names, 2):
            if truth[one] != truth[other]:
                better, worse = (one, other) if truth[one] > truth[other] else (other, one)
                pairs += 1
                agreed += 0.5 if said[better] == said[worse] else float(said[better] > said[worse])
    return pairs, agreed


def make_task(pair: Pair) -> Task:
    """The task whose one clause is a pair's edit.

    Args:
        pair: with the source.
    """
    said = say_edit(pair.edit)
    name = f"{type(pair.edit).__name__.lower()}-{content_hash(*map(str, pair.source.cells), said)}"
    return Task(name, pair.source, said, (type(pair.edit).__name__.lower(),), read_goal(said, pair.source))
