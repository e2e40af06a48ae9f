"""Samples that policies are trained on: one question of the loop each, with the answer that is wanted.

A sample holds what `core.prompt.build_prompt` is given, not its words: a trainer puts it into words as the
policy will be asked, whatever the prompt is by then.
"""

from __future__ import annotations

import pyarrow as pa

from mira_batch.storage.schema import IMAGE, add_features

SAMPLES_VERSION = "1"
"""Raised when a column means something else than before. Trainers refuse versions that they don't know."""
VERSION_KEY = b"mira_batch.samples"
"""Where a file's schema says it."""

SAMPLES = add_features(
    pa.schema(
        [
            ("sample_id", pa.string()),  # digest of question and answer: equal ones are one
            ("split", pa.string()),  # train or val; all samples of a source image are in the same
            ("kind", pa.string()),  # start (the first edit), continue or stop
            ("origin", pa.string()),  # trajectory; or recovery (of a wrong edit), hindsight (relabelled)
            # The question:
            ("instruction", pa.string()),  # the complex one, whole
            ("original", IMAGE),
            ("current", IMAGE),  # null where it is the original
            ("history", pa.list_(pa.struct([("instruction", pa.string()), ("accepted", pa.bool_())]))),
            # The answer, in the format of `core/actions.py`, and what it says:
            ("answer", pa.string()),
            ("thought", pa.string()),
            ("edit", pa.string()),  # null: stop
            # Where it is from:
            ("source_digest", pa.string()),  # of the original's pixels: samples are split by it
            ("current_digest", pa.string()),
            # In [0, 1]: of the results of all trajectories that contain question and answer the best; null
            # where nobody judged one. Construct's version 1 wrote that of the trajectory that was read first.
            ("score", pa.float64()),
            ("dataset", pa.string()),  # name of the collection that it came from
            ("licence", pa.string()),  # of that collection; null where nobody said
            ("record_id", pa.string()),  # there, or in the run
            ("run", pa.string()),  # of the edit job; null of a session that was read as it is
            ("work_id", pa.string()),
            ("step", pa.int32()),  # of its trajectory
        ]
    )
)
SAMPLES = SAMPLES.with_metadata({**SAMPLES.metadata, VERSION_KEY: SAMPLES_VERSION})
"""A row of `samples/{train,val}-*.parquet`, what construct writes and trainers read."""
