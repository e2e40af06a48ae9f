"""Every Arrow schema of the package, declared once. Success and failure rows share them.

Types are declared, never inferred, so that a shard without any error has the same schema as one where
every record failed.
"""

from __future__ import annotations

import json

import pyarrow as pa

from mira_batch.storage.structs import ANSWER, BRANCH, CANDIDATE, IMAGE, JUDGED, JUDGEMENT, SECONDS, STEP

STEP_VERSION = 2
"""Form of a step file; a file with another number is not trusted."""

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
        # Digests of 8 bytes of what decides the work_id beside the settings, to say why a record runs again:
        ("image_part", pa.string()),  # where the image is and what tells its version
        ("instruction_part", pa.string()),
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

DUPLICATE = "an earlier row has the same record_id; the first one is used"
"""The reason of the reject that a row becomes by it."""


def scan_schema(plan: pa.Schema) -> pa.Schema:
    """Rows of a plan and rejects in one table, as a job's scan gives them: of a reject `reason` is set, of
    a record it is null. `digest` is the record id's (BLAKE2b, 16 bytes), by which duplicates are found."""
    return pa.schema([*plan, *REJECTS.remove(1), ("digest", pa.binary(16))])


def _describe_feature(kind: pa.DataType) -> object:
    """The Hugging Face feature that shows a column of this type."""
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        return {field.name: _describe_feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return [_describe_feature(kind.value_type)]
    names = {"double": "float64", "float": "float32"}
    return {"_type": "Value", "dtype": names.get(str(kind), str(kind))}


def add_features(schema: pa.Schema) -> pa.Schema:
    """The same schema, with the metadata by which `datasets` (and the hub's viewer) show images as images."""
    features = {field.name: _describe_feature(field.type) for field in schema}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


FACTS = pa.schema(
    [
        ("record_id", pa.string()),
        ("work_id", pa.string()),
        ("status", pa.string()),
        ("error_kind", pa.string()),  # why the edit job would refuse this image
        ("error_message", pa.string()),
        ("source", pa.string()),  # its URI, or its place in the manifest
        # What the file says:
        ("format", pa.string()),  # PNG, JPEG …, by its content
        ("bytes", pa.int64()),  # encoded
        ("mode", pa.string()),  # Pillow's: RGB, L, P, CMYK …
        ("depth", pa.int32()),  # bits per channel
        ("frames", pa.int32()),
        ("icc_profile", pa.string()),  # its description
        ("exif_orientation", pa.int32()),  # 1 to 8; 1 is upright
        ("file_digest", pa.string()),  # of the encoded bytes
        # Of the decoded image, as an edit would see it: upright, 8 bits a channel, sRGB:
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("pixels", pa.int64()),
        ("has_alpha", pa.bool_()),
        ("pixel_digest", pa.string()),  # equal images have equal digests, whatever file they came in
        ("sharpness", pa.float64()),  # variance of the Laplacian of luma
        ("luminance", pa.float64()),  # mean luma, 0 to 1
        ("white_border", pa.float64()),  # share of the border's pixels that are near white, 0 to 1
        ("seconds", pa.float64()),
    ]
)
"""What the inspect job writes of each image. A fact that can't be had is null."""

FIDELITY = pa.struct(
    [
        ("shift", pa.float64()),  # how far what was not edited has moved, in pixels of the source;
        ("shift_x", pa.float64()),  # to the right,
        ("shift_y", pa.float64()),  # and downwards
        ("delta_e", pa.float64()),  # mean CIEDE2000 of the colours of what was not edited
        ("delta_e_p95", pa.float64()),  # its 95th percentile
        ("changed_share", pa.float64()),  # of the picture that was edited, 0 to 1
        ("sharpness_ratio", pa.float64()),  # variance of the Laplacian, over the source's
        ("noise_added", pa.float64()),  # standard deviation in 8-bit levels; below 0: taken away
        ("alpha_loss", pa.float64()),  # mean difference of alpha along the source's edges of it, 0 to 1
        ("size_ratio", pa.float64()),  # pixels, over the source's
        ("aspect_change", pa.float64()),  # width by height, over the source's
    ]
)
"""Facts of a result against its source (docs/fidelity.md). One that can't be had is null."""

RESULTS = add_features(
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
            # Results of earlier releases lack these. What files say beside their pixels:
            ("source_depth", pa.int32()),  # bits per channel of the input; what is above 8 is lost
            ("source_c2pa", pa.bool_()),  # it held or named a signed manifest, which no result carries over
            ("source_type", pa.string()),  # how the result says that it came to be: IPTC's DigitalSourceType
            # And what changed beyond what was asked:
            ("fidelity", FIDELITY),  # null of a failed record, and with `output.fidelity: false`
            # And all images that were drawn for the steps and judged, those that were not taken included:
            ("candidates", pa.list_(CANDIDATE)),
            # What training a policy needs to know (docs/learning.md):
            ("rollout", pa.int32()),  # which of the record's trajectories, from 0; null where there is one
            ("branch", BRANCH),  # the state that it began from; null where it began with its image
            ("prompt_version", pa.string()),  # of what the policy was asked; null where it has no prompt
            ("answers", pa.list_(ANSWER)),  # of the policy; null without `output.tokens`
            ("judgements", pa.list_(JUDGED)),  # of all candidates; null without `output.candidates: images`
            ("steps", pa.list_(STEP)),
        ]
    )
)

ADDED = frozenset(
    {"source_depth", "source_c2pa", "source_type", "fidelity", "candidates"}
    | {"rollout", "branch", "prompt_version", "answers", "judgements"}
)
"""Columns of `RESULTS`, and of `SCORES`, that files of earlier releases lack. They are read as null."""

_FACTS = [field.name for field in FIDELITY if field.name not in ("shift_x", "shift_y")]

SCORES = pa.schema(
    [
        ("record_id", pa.string()),  # of a control, the judged record's with `#` and what is asked about it
        ("work_id", pa.string()),
        ("status", pa.string()),
        ("error_kind", pa.string()),
        ("error_message", pa.string()),
        ("judged", pa.string()),  # result; repeat; or a canary: original, black, other, nonsense, same
        ("of", pa.string()),  # the record whose result, or original, this is about
        ("group", pa.string()),  # value of the metadata's key that groups are made by
        ("instruction", pa.string()),  # as the judge was given it
        ("source", pa.string()),  # the original image
        ("source_digest", pa.string()),  # of its pixels
        ("result_digest", pa.string()),  # of the pixels that were judged
        # How the result was made; null for pairs of a manifest:
        ("run", pa.string()),
        ("rollout", pa.int32()),  # which of the record's trajectories; null where there is one
        ("result_status", pa.string()),
        ("num_steps", pa.int32()),
        ("edit_seconds", pa.float64()),
        ("edit_cost", pa.float64()),
        # Of a pair, what the result was held against; null where it was scored by itself:
        ("against_run", pa.string()),
        ("against_status", pa.string()),
        ("against_digest", pa.string()),  # of the pixels
        # What the judge said:
        ("score", pa.float64()),  # in [0, 1]; of a pair 1 the result is preferred, 0.5 neither, 0 the other
        *JUDGEMENT,
        ("models", pa.struct([("judge", pa.string())])),  # identity
        ("seconds", SECONDS),
        ("cost", pa.float64()),  # US dollars that endpoints charged for the judging
    ]
)
"""What the evaluate job writes of each judging."""

SNAPSHOT = pa.schema(
    [
        ("record_id", pa.string()),
        ("work_id", pa.string()),
        ("image_part", pa.string()),  # as in `PLAN`; null where an earlier release planned it
        ("instruction_part", pa.string()),
        ("status", pa.string()),
        ("stop_reason", pa.string()),
        ("error_kind", pa.string()),
        ("source_digest", pa.string()),  # of the input's decoded pixels
        ("result_digest", pa.string()),
        ("num_steps", pa.int32()),
        ("cost", pa.float64()),  # US dollars
        ("models", pa.string()),  # identity by role, a JSON object
        *((name, pa.float32()) for name in _FACTS),  # as in `FIDELITY`; 4 bytes are enough of a measure
        # Where its row is:
        ("made_as", pa.string()),  # the row's own work_id; another where it stands in for this work
        ("run", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
        # What it is to the catalogue:
        ("plan", pa.int32()),  # number of the newest plan that wants this work
        ("source", pa.string()),  # the manifest that was planned then, as its run names it
        ("gone", pa.int32()),  # number of the plan that missed the record in that manifest; see `merge`
        ("current", pa.bool_()),  # it stands for the record
    ]
)
"""What a snapshot of the catalogue knows of each piece of work: one row for each record_id and work_id."""

POINTERS = pa.schema(
    [
        ("record_id", pa.string()),
        ("work_id", pa.string()),  # what the plan wants; null where the manifest lost the record
        ("stands_in", pa.string()),  # work_id of the row that does for it; null: one of this very work_id
        ("image_part", pa.string()),
        ("instruction_part", pa.string()),
    ]
)
"""What a plan says of records that it does not run: which row stands for them from now on. Those of which the
last plan said the same are left out."""

CHOSEN = pa.schema(
    [SNAPSHOT.field(name) for name in ("record_id", "work_id", "result_digest", "run", "shard", "row")]
)
"""What an export needs to know of a row that it hands over, to find it and to tell it from others."""

EXPORTED = pa.schema(
    [
        *CHOSEN,
        ("name", pa.string()),  # of its file in a folder, or of its sample in a tar; null in other forms
        ("format", pa.string()),  # that its image is to be encoded in; null where none is written
    ]
)
"""A row of an export's plan."""

TABLE = pa.schema(
    [
        ("record_id", pa.string()),
        ("work_id", pa.string()),
        ("instruction", pa.string()),
        ("status", pa.string()),
        ("stop_reason", pa.string()),
        ("error_kind", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("num_steps", pa.int32()),
        *((f"{name}_seconds", pa.float64()) for name in ("policy", "editor", "judge", "waiting", "io")),
        ("cost", pa.float64()),  # US dollars that endpoints charged
        *((name, pa.string()) for name in ("policy", "editor", "judge")),  # identities of the models
        ("source", pa.string()),  # the input image
        ("source_digest", pa.string()),
        ("result_digest", pa.string()),
        ("restored", pa.bool_()),
        ("final_thought", pa.string()),
        ("metadata", pa.string()),
        ("source_depth", pa.int32()),  # as in `RESULTS`
        ("source_c2pa", pa.bool_()),
        ("source_type", pa.string()),
        *FIDELITY,
        ("run", pa.string()),
        ("result_file", pa.string()),  # URI of the Parquet file that holds the result image,
        ("result_row", pa.int32()),  # and its row in that file, from 0 on
    ]
)
"""A row as tables get it: no bytes, and no column inside another, so that every reader sees the same."""

RESULTS_OF = {"edit": RESULTS, "inspect": FACTS}
"""The schema of the results of each job of this package; another job's stands in its own files."""
