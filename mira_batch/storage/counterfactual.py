"""What each step of trajectories was worth: the rows that `mira-batch counterfactual` writes, and their
reader."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.base import make_absolute
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores import open_store, shorten_error

STEPS_FILE, RESULT_FILE = "steps.parquet", "result.json"
COUNTERFACTUAL_FORM = "1"
"""Raised when a column means something else than before."""
FORM_KEY = b"mira_batch.counterfactual"
"""Where a file's schema says it."""
STATES, LAID = "states", "laid"
"""Its two runs, `<uri>/<name>/run`: the policy goes on from each state; edits are laid down, and nobody is
asked."""
_FIX = "and run the same `mira-batch counterfactual` again, which makes it of what its runs gave"
_COUNTS = pa.list_(pa.struct([("kind", pa.string()), ("count", pa.int32())]))
_TRY = pa.struct(
    [
        ("edit", pa.string()),  # its next one; null: STOP
        ("score", pa.float64()),  # of the end that it came to; null: not judged
        ("steps", pa.int32()),  # of that in all
    ]
)

VALUED_STEPS = pa.schema(
    [
        ("record_id", pa.string()),
        ("rollout", pa.int32()),  # which of the record's trajectories; null where the run has one of each
        ("work_id", pa.string()),  # of the trajectory, in the run
        ("goal", pa.string()),  # the complex instruction
        ("step", pa.int32()),  # from 0
        ("action", pa.string()),  # edit; or stop, of a trajectory that its policy ended
        ("edit", pa.string()),  # null of a stop
        ("accepted", pa.bool_()),  # false: the judge in the loop rolled it back
        ("image_before", pa.string()),  # digests of the images around it
        ("image_after", pa.string()),
        # Values are mean scores of what the policy made from a state, in [0, 1]; null: none has a score
        ("value_before", pa.float64()),
        ("value_before_error", pa.float64()),  # standard error; null of fewer than two scores
        ("judged_before", pa.int32()),  # scores that it is the mean of
        ("value_after", pa.float64()),  # of a stop the score of the end itself
        ("value_after_error", pa.float64()),
        ("judged_after", pa.int32()),
        ("advantage", pa.float64()),  # value_after - value_before
        ("advantage_error", pa.float64()),  # its standard error
        ("advantage_low", pa.float64()),  # its interval, which holds for all steps of the trajectory together
        ("advantage_high", pa.float64()),
        ("ruined", pa.bool_()),  # this is the step that ruined the trajectory
        ("end_score", pa.float64()),  # of the trajectory as it ended
        # The trajectory without this step; null of a stop, and of a step that was rolled back
        ("drop_score", pa.float64()),  # mean score of its end
        ("drop_error", pa.float64()),  # standard error of that
        ("judged_drops", pa.int32()),  # scores that it is the mean of
        ("drop_effect", pa.float64()),  # end_score - drop_score: above 0 the step did good
        ("tried", pa.list_(_TRY)),  # what the policy did in its place, rollout by rollout
        ("left_out", _COUNTS),  # continuations from the state before it without a score, by kind of fault
        ("drops_left_out", _COUNTS),  # the same of the trajectory without it
    ]
).with_metadata({FORM_KEY: COUNTERFACTUAL_FORM})
"""A row of `steps.parquet`: a step of a trajectory."""


def name_state(trajectory: str, steps: int) -> str:
    """The record of `STATES` that goes on after so many steps of a trajectory, by its name in its run."""
    return f"{trajectory} after {steps}"


def name_drop(trajectory: str, step: int) -> str:
    """The record of `LAID` that is a trajectory without this step."""
    return f"{trajectory} without {step}"


def name_end(trajectory: str) -> str:
    """The record of `LAID` that is a trajectory as it ended."""
    return f"{trajectory} as it ended"


def read_counterfactual(uri: str, storage: StorageConfig | None = None) -> pa.Table:
    """What each step of the trajectories was worth, a row of `VALUED_STEPS` each.

    Args:
        uri: the output of `mira-batch counterfactual`.
        storage: how to reach an object store; None uses the environment.

    Raises:
        StoreError: it is not there, not done yet, damaged, or of another release.
    """
    store = open_store(make_absolute(uri).rstrip("/"), storage or StorageConfig(), make=False)
    if not store.exists(RESULT_FILE):
        raise StoreError(
            f"{store.uri}: holds no counterfactual that is done; run `mira-batch counterfactual` to its end"
        )
    where = store.locate(STEPS_FILE)
    try:
        found = store.read(STEPS_FILE, lambda data: pq.read_table(pa.BufferReader(data)))
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{where}: is damaged: {shorten_error(error)}; delete it, {_FIX}") from error
    if found is None:
        raise StoreError(f"{where}: is gone; restore it, or {_FIX.removeprefix('and ')}")
    form = (found.schema.metadata or {}).get(FORM_KEY, b"").decode("utf-8", "replace")
    if form != COUNTERFACTUAL_FORM:
        raise StoreError(f"{where}: has the form {form!r}, and this release reads {COUNTERFACTUAL_FORM}")
    return found
