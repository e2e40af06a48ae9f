"""The states of an iteration's trajectories, and which of them are asked again (`credit: step`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.identity import content_hash
from mira_batch.storage import schema
from mira_batch.storage.run.history import read_result_file
from mira_batch.storage.run.results import result_files
from mira_batch.train.advantages import name_group

_READ = ("record_id", "work_id", "instruction", "source_digest", "answers", "steps")
_COLUMNS = ("record_id", "work_id", "instruction", "source_digest",
            *(f"answers.list.element.{name}" for name in ("step", "logprobs")),
            *(f"steps.list.element.{name}" for name in ("instruction", "accepted", "after")))  # fmt: skip

Choice = Literal["chance", "doubt"]
"""How states are drawn."""
_LEAST_DOUBT = 0.01
"""A policy that is sure may be surely wrong: such states are asked now and then, too."""


@dataclass(frozen=True, slots=True)
class AskedState:
    """A state of a trajectory at which the policy was asked."""

    record_id: str
    work_id: str
    """Of the trajectory."""
    steps: int
    """That had been made."""
    question: str
    """What the policy was asked, by `name_question`: states of one name are equal."""
    doubt: float = 1.0
    """The chance that it answers otherwise when it is asked again: 1 - p of its first answer."""

    @property
    def name(self) -> str:
        """What its record is called in the run of its proposals. Each state has another."""
        return f"{self.record_id}#state-{self.steps}"


def name_question(row: Mapping[str, Any], steps: int, history: bool = True) -> str:
    """The name of the question after so many steps: of the images that are shown, and of all that is said.

    Args:
        row: of a result.
        steps: that had been made.
        history: whether the policy is told of the steps before.
    """
    made = (row["steps"] or [])[:steps]
    taken = [step["after"] for step in made if step["accepted"]]
    images = content_hash(row["source_digest"] or "", taken[-1] if taken else row["source_digest"] or "")
    past = [[step["instruction"], step["accepted"]] for step in made] if history else []
    return name_group(images, json.dumps([row["instruction"], past]))


def read_states(run: str, history: bool, storage: StorageConfig) -> tuple[list[AskedState], int]:
    """All states of a run's trajectories at which the policy was asked, in the order of rows and steps; and
    how many records have none.

    After a guard (`no_progress`, say) or a limit of time nobody was asked, so that is no state.

    Args:
        run: its directory.
        history: whether the policy is told of earlier edits (`prompt.history`).
        storage: how it is reached.

    Raises:
        StoreError: a file is damaged.
    """
    fs, files = result_files(run, storage)
    wanted = [schema.RESULTS.field(name) for name in _READ]
    found, without = list[AskedState](), 0
    for file in files:
        for row in read_result_file(fs, run, file, wanted, _read, storage).to_pylist():
            own = list(find_states(row, history))
            found += own
            without += not own
    return found, without


def find_states(row: Mapping[str, Any], history: bool) -> Iterator[AskedState]:
    """The states of a trajectory at which the policy was asked.

    Args:
        row: of its result.
        history: whether the policy is told of earlier edits.
    """
    answers = row["answers"] or ()
    first = {answer["step"]: answer for answer in reversed(answers)}
    for steps in sorted(first):
        told = first[steps]["logprobs"]
        doubt = 1.0 if told is None else -math.expm1(sum(told))
        yield AskedState(row["record_id"], row["work_id"], steps, name_question(row, steps, history), doubt)


def choose_states(
    found: Sequence[AskedState], most: int, by: Choice, seed: int, iteration: int
) -> tuple[list[AskedState], int]:
    """The states that are asked again, in the order of `found`; and how many were equal to one before.

    Equal states are taken once: to ask the same question twice would learn from it twice as much as from
    others, at the price of a question that is new.

    Args:
        found: all of an iteration.
        most: so many are drawn, one after another; all where there are fewer.
        by: chance: each as likely as any other; doubt: the likelier, the more it is in doubt.
        seed: of the training.
        iteration: from 0.
    """
    first: dict[str, AskedState] = {}
    for state in found:
        first.setdefault(state.question, state)
    distinct = list(first.values())
    random = np.random.Generator(np.random.PCG64([seed, iteration, 0x57A]))
    if by == "chance":
        places = random.permutation(len(distinct))[:most]
    else:
        weights = np.array([max(state.doubt, _LEAST_DOUBT) for state in distinct])
        number = min(most, len(distinct))
        places = random.choice(len(distinct), number, replace=False, p=weights / weights.sum())
    return [distinct[place] for place in sorted(places)], len(found) - len(distinct)


def _read(parquet: pq.ParquetFile) -> pa.Table:
    return parquet.read(columns=list(_COLUMNS), use_threads=False)
