"""Every Arrow schema of the package, declared once. Success and failure rows share them.

Types are declared, never inferred, so that a shard without any error has the same schema as one where
every record failed.
"""

from __future__ import annotations

import json

import pyarrow as pa

STEP_VERSION = 2
"""Form of a step file; a file with another number is not trusted."""

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""A Hugging Face image: encoded bytes, or the URI of an object of its own."""

SECONDS = pa.struct([(name, pa.float64()) for name in ("policy", "editor", "judge", "waiting", "io")])

PLAN = pa.schema(
    [
        ("record_id", pa.string()),
        ("work_id", pa.string()),
        ("instruction", pa.string()),
        ("image_uri", pa.string()),  # where the image is, or null for one embedded in the manifest:
        ("image_file", pa.string()),  # its Parquet file,
        ("image_row_group", pa.int32()),  # row group
        ("image_row", pa.int32()),  # and row within the group
        ("metadata", pa.string()),  # the manifest's other columns, a JSON object
    ]
)

REJECTS = pa.schema(
    [
        ("where", pa.string()),  # file and line, or file, row group and row
        ("record_id", pa.string()),
        ("field", pa.string()),
        ("reason", pa.string()),
    ]
)

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


def _feature(kind: pa.DataType) -> object:
    """The Hugging Face feature that shows a column of this type."""
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    names = {"double": "float64"}
    return {"_type": "Value", "dtype": names.get(str(kind), str(kind))}


def _with_features(schema: pa.Schema) -> pa.Schema:
    """Add the metadata by which `datasets` (and the hub's viewer) show image columns as images."""
    features = {field.name: _feature(field.type) for field in schema}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


RESULTS = _with_features(
    pa.schema(
        [
            ("record_id", pa.string()),
            ("work_id", pa.string()),
            ("instruction", pa.string()),
            ("status", pa.string()),
            ("stop_reason", pa.string()),
            ("error_kind", pa.string()),
            ("error_message", pa.string()),
            ("image", IMAGE),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("num_steps", pa.int32()),
            ("seconds", SECONDS),
            ("cost", pa.float64()),  # US dollars that endpoints charged
            ("models", pa.struct([(name, pa.string()) for name in ("policy", "editor", "judge")])),
            ("source", pa.string()),  # the input image: its URI, or its place in the manifest
            ("source_digest", pa.string()),  # of the input's decoded pixels: what steps[0].before equals
            (
                "result_digest",
                pa.string(),
            ),  # of the result's pixels, before they were encoded: those of a step,
            ("restored", pa.bool_()),  # or, when this is set, those at the size that the user expects
            ("final_thought", pa.string()),
            ("metadata", pa.string()),
            ("steps", pa.list_(STEP)),
        ]
    )
)
