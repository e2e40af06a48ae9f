"""Results as rows of a table: columns and the place of the image, no bytes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.storage import schema
from mira_batch.storage.run.layout import result_key

_TIMES = ("policy", "editor", "judge", "waiting", "io")
_ROLES = ("policy", "editor", "judge")
SOURCES = [
    *(name for name in schema.TABLE.names if name in schema.RESULTS.names),
    "seconds",
    "models",
    "fidelity",
]
"""The columns of results that a row is made of."""


def make_table_rows(output: str, places: pa.Table, found: pa.Table) -> pa.Table:
    """Rows of schema `TABLE`.

    Args:
        output: the directory of all runs.
        places: of one result file: its `run`, `shard` and each `row`.
        found: the columns `SOURCES` of these rows.
    """
    run, rows = places["run"][0].as_py(), places.num_rows
    columns = {name: found[name] for name in schema.TABLE.names if name in found.column_names}
    for name in _TIMES:
        columns[f"{name}_seconds"] = pc.call_function("struct_field", [found["seconds"]], _part(name))
    for name in _ROLES:
        columns[name] = pc.call_function("struct_field", [found["models"]], _part(name))
    for name in schema.FIDELITY.names:
        columns[name] = pc.call_function("struct_field", [found["fidelity"]], _part(name))
    file = f"{output}/{run}/{result_key(places['shard'][0].as_py())}"
    columns |= {"run": places["run"], "result_row": places["row"]}
    columns["result_file"] = pa.chunked_array([pa.array([file] * rows, pa.string())])
    return pa.table([columns[name] for name in schema.TABLE.names], schema=schema.TABLE)


def _part(name: str) -> pc.StructFieldOptions:
    return pc.StructFieldOptions([name])
