"""What the runs of an iteration wrote down: rollouts and scores without images, and what the update needs of
those that teach something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.types import Frame, Status, Step
from mira_batch.storage import schema
from mira_batch.storage.images import OWN_RESULTS, decode
from mira_batch.storage.run.history import read_columns, read_result_file, shard_in
from mira_batch.storage.run.results import result_files, tell_unfinished
from mira_batch.train.advantages import name_group
from mira_batch.train.grpo.rewards import Rollout, Scored, scale_axes
from mira_batch.train.grpo.states import name_question
from mira_batch.train.rows import read_whole_rows

_SMALL = ("record_id", "instruction", "status", "stop_reason", "error_kind", "num_steps", "source_digest",
          "rollout", "branch", "prompt_version", "answers")  # fmt: skip


def read_rollouts(run: str, prompt: str, storage: StorageConfig) -> list[Rollout]:
    """All rollouts of a run; of one with a single trajectory of each record, these.

    Args:
        run: its directory.
        prompt: version of the prompt that the policy is trained on.
        storage: how it is reached.

    Raises:
        RunConflict: the policy was asked by another prompt.
        StoreError: a file is damaged.
    """
    fs, files = result_files(run, storage)
    wanted = [schema.RESULTS.field(name) for name in (*_SMALL, "steps")]
    found = []
    for file in files:
        table = read_result_file(fs, run, file, wanted, _read_small, storage)
        for number, row in enumerate(table.to_pylist()):
            if row["prompt_version"] not in (prompt, None) or (row["answers"] and not row["prompt_version"]):
                raise RunConflict(
                    f"{run}: the policy was asked by the prompt {row['prompt_version']}, and is trained on "
                    f"{prompt}: these rollouts teach it another question; train into a new output"
                )
            found.append(_make_rollout(row, shard_in(file), number))
    return found


def _read_small(parquet: pq.ParquetFile) -> pa.Table:
    steps = [f"steps.list.element.{name}" for name in ("instruction", "accepted", "after", "score")]
    return tell_unfinished(parquet.read(columns=[*_SMALL, *steps], use_threads=False))


def _make_rollout(row: Mapping[str, Any], shard: int, number: int) -> Rollout:
    steps, begun = row["steps"] or (), count_begun(row)
    answers = [answer for answer in row["answers"] or () if answer["step"] >= begun]
    taken = [step["score"] for step in steps if step["accepted"] and step["score"] is not None]
    judged = any(step["score"] is not None for step in steps)
    # The loop counts the untouched image 0, and so does a reward.
    score = max(taken) if taken else (0.0 if judged or not steps else None)
    return Rollout(
        shard,
        number,
        row["record_id"],
        row["rollout"] or 0,
        _name_group(row, begun),
        row["status"],
        row["error_kind"],
        max(0, (row["num_steps"] or 0) - begun),
        tuple(answer["kind"] for answer in answers),
        sum(len(answer["tokens"] or ()) for answer in answers),
        score,
        _find_proposed(row, begun),
        -sum(sum(answer["logprobs"] or ()) for answer in answers),
    )


def _find_proposed(row: Mapping[str, Any], begun: int) -> str | None:
    """What a proposal came to: see `Rollout.proposed`."""
    if row["branch"] is None or row["status"] == Status.failed:
        return None
    made = (row["steps"] or ())[begun:]
    return made[0]["instruction"] if made else ""


def count_begun(row: Mapping[str, Any]) -> int:
    """How many steps a row took over from the state that it began from: its own come after them."""
    return row["branch"]["steps"] if row["branch"] else 0


def _name_group(row: Mapping[str, Any], begun: int) -> str:
    if row["branch"] is None:
        return name_group(row["source_digest"] or "", row["instruction"])
    if len(row["steps"] or ()) < begun:  # its state could not be had
        return name_group(row["branch"]["work_id"], str(begun))
    return name_question(row, begun)


def read_scores(
    run: str, storage: StorageConfig
) -> tuple[dict[tuple[str, int], Scored], dict[str, list[float]]]:
    """The scores of an evaluation of rollouts, by record and rollout; and those of its canaries, by kind.

    Args:
        run: directory of the evaluation.
        storage: how it is reached.

    Raises:
        StoreError: a file is damaged.
    """

    def fail(error: StoreError) -> None:
        raise error

    names = ("judged", "of", "rollout", "score", "axes", "status", "error_kind")
    scores: dict[tuple[str, int], Scored] = {}
    canaries: dict[str, list[float]] = {}
    for _, table in read_columns(run, names, schema.SCORES, storage, fail):
        for row in table.to_pylist():
            if row["judged"] == "result":
                said = Scored(row["score"], scale_axes(row["axes"]), row["error_kind"])
                scores[row["of"], row["rollout"] or 0] = said
            elif row["score"] is not None:
                canaries.setdefault(row["judged"], []).append(row["score"])
    return scores, canaries


@dataclass(frozen=True, slots=True)
class Lesson:
    """An answer of the policy, and what it is to learn from it."""

    name: str
    """For errors."""
    instruction: str
    original: str
    """Digest of the original image."""
    current: str
    """Digest of the image that it was asked about."""
    history: tuple[tuple[str, bool], ...]
    """Edits made before, and whether each was accepted."""
    attempt: int
    problem: str
    """Why the answer before was malformed; empty for the first."""
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of each token, by the policy that drew it."""
    advantage: float


class Pictures:
    """Images of lessons, by the digest of their pixels, in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def put(self, digest: str, data: bytes) -> None:
        """Keep an encoded image."""
        if not (path := self._folder / digest).exists():
            path.write_bytes(data)

    def open(self, digest: str) -> Frame:
        """An image, decoded.

        Raises:
            StoreError: it has other pixels than the policy saw.
        """
        frame = frame_of(decode((self._folder / digest).read_bytes(), digest, OWN_RESULTS))
        if frame.digest != digest:
            raise StoreError(f"image {digest}: has other pixels than the policy saw; the run is damaged")
        return frame


def read_lessons(
    run: str, advantages: Mapping[tuple[int, int], float], pictures: Pictures, storage: StorageConfig
) -> list[Lesson]:
    """The answers of rollouts that teach something, in the order of their rows.

    Args:
        run: directory of the rollouts.
        advantages: of rows, by shard and number.
        pictures: where images are put.
        storage: how the run is reached.

    Raises:
        StoreError: a file is damaged, or an image is gone or another one.
    """
    lessons: list[Lesson] = []
    for row in read_whole_rows(run, advantages, storage):
        pictures.put(row.original.digest, row.original.data)
        for step, image in zip(row.columns["steps"] or (), row.after, strict=True):
            pictures.put(step["after"], image)
        lessons += _make_lessons(row.columns, advantages[row.place])
    return lessons


def _make_lessons(row: Mapping[str, Any], advantage: float) -> Iterator[Lesson]:
    steps, problem, begun = row["steps"] or [], "", count_begun(row)
    for answer in row["answers"] or ():
        if answer["step"] < begun:  # of the trajectory that it began in
            continue
        before = steps[: answer["step"]]
        accepted = [step["after"] for step in before if step["accepted"]]
        yield Lesson(
            f"{row['record_id']}#rollout-{row['rollout']}, step {answer['step']}",
            row["instruction"],
            row["source_digest"],
            accepted[-1] if accepted else row["source_digest"],
            tuple((step["instruction"], step["accepted"]) for step in before),
            answer["attempt"],
            problem if answer["attempt"] else "",
            tuple(answer["tokens"]),
            tuple(answer["logprobs"]),
            advantage,
        )
        problem = answer["problem"] or ""


def build_question(lesson: Lesson, original: Frame, current: Frame) -> PolicyRequest:
    """The question of a lesson, as the loop asked it.

    Args:
        lesson: which.
        original, current: the images, or what is shown in their place.
    """
    steps = tuple(
        Step(index, "", instruction, "", 0, 0, "", "", accepted)
        for index, (instruction, accepted) in enumerate(lesson.history)
    )
    return PolicyRequest(
        lesson.name, lesson.instruction, original, current, steps, 0, lesson.attempt, lesson.problem
    )
