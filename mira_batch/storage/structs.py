"""What columns of results are made of: images, steps, and what models said. `schema.py` has whole schemas."""

from __future__ import annotations

import pyarrow as pa

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""A Hugging Face image: encoded bytes, or the URI of an object of its own."""

SECONDS = pa.struct([(name, pa.float64()) for name in ("policy", "editor", "judge", "waiting", "io")])

STEP = pa.struct(
    [
        ("index", pa.int32()),
        ("thought", pa.string()),
        ("instruction", pa.string()),
        ("raw_answer", pa.string()),
        ("image", IMAGE),
        ("seed", pa.int64()),
        ("attempt", pa.int32()),
        ("accepted", pa.bool_()),
        ("score", pa.float64()),
        ("before", pa.string()),
        ("after", pa.string()),
        ("seconds", SECONDS),
        ("cost", pa.float64()),  # US dollars that endpoints charged
    ]
)


CANDIDATE = pa.struct(
    [
        ("step", pa.int32()),
        ("attempt", pa.int32()),
        ("seed", pa.int64()),
        ("after", pa.string()),  # digest of the image it gave
        ("score", pa.float64()),
        ("entropy", pa.float64()),  # of the judge, in nats; null where it doesn't say
    ]
)

_AXIS = ("value", "low", "high")
JUDGEMENT = (
    ("axes", pa.list_(pa.struct([("name", pa.string()), *((n, pa.float64()) for n in _AXIS)]))),
    ("validity", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))),
    ("protocol", pa.string()),
    ("reason", pa.string()),
    ("raw", pa.list_(pa.string())),
)
"""What a judge says beside the score."""

JUDGED = pa.struct(
    [
        ("step", pa.int32()),
        ("attempt", pa.int32()),  # as in `CANDIDATE`, by which the two columns are joined
        ("after", pa.string()),  # digest of the image
        ("image", IMAGE),  # of one that was not taken; null where it is that of the step, or stood before
        *JUDGEMENT,
    ]
)

BRANCH = pa.struct([("run", pa.string()), ("work_id", pa.string()), ("steps", pa.int32())])
"""A state of an earlier trajectory: the run's directory, and how many of its steps are taken as they are."""

ANSWER = pa.struct(
    [
        ("step", pa.int32()),  # for which it was asked
        ("attempt", pa.int32()),  # 0, or how many answers before it were malformed
        ("kind", pa.string()),  # edit, stop or malformed
        ("text", pa.string()),
        ("problem", pa.string()),  # why it is malformed
        ("seed", pa.int64()),
        ("tokens", pa.list_(pa.int32())),  # ids, that which ends the answer included; null: an endpoint's
        ("logprobs", pa.list_(pa.float32())),  # of each token, in nats; docs/learning.md says under what
    ]
)
"""An answer of the policy, and its tokens."""
