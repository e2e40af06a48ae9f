"""The command that hands results over."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mira_batch.cli.app import Command, Json, Sets, app, err, get_interrupts, print_json, print_text
from mira_batch.cli.catalogue import Where
from mira_batch.cli.settings import read_storage
from mira_batch.config.base import make_absolute
from mira_batch.config.export import FORMS
from mira_batch.config.load import load_export, load_job_config
from mira_batch.core.errors import ConfigError
from mira_batch.export.run import export as export_results
from mira_batch.report.handover import ExportProgress, describe_export
from mira_batch.storage.run.calls import read_last_config
from mira_batch.storage.stores import open_store

Form = StrEnum("Form", {form: form for form in FORMS})
_FROM_RUN = ("backend", "storage", "workers")
"""What an export does as the runs do."""


Run = Annotated[str | None, typer.Option("--run", metavar="DIR", help="Of one run.")]
Output = Annotated[
    str | None, typer.Option("--catalogue", metavar="DIR", help="Of all runs below this directory.")
]
OfConfig = Annotated[Path | None, typer.Option("--config", "-c", help="The same, by the config of the job.")]
Approved = Annotated[
    bool, typer.Option("--approved-only", help="Only results whose newest decision is approve.")
]
Decisions = Annotated[
    str | None, typer.Option("--decisions", metavar="FILE", help="More decisions, in JSON lines.")
]
AnyStatus = Annotated[bool, typer.Option("--any-status", help="csv and tables: also rows that are not ok.")]
Names = Annotated[
    str | None, typer.Option("--names", metavar="source|record", help="folder: what files are called after.")
]
Root = Annotated[
    str | None, typer.Option("--root", metavar="DIR", help="folder: names begin below this directory.")
]
Format = Annotated[
    str | None,
    typer.Option("--format", metavar="keep|source", help="folder: as results are, or as sources were."),
]
ShardRecords = Annotated[
    int | None, typer.Option("--shard-records", metavar="N", help="webdataset, hf: records in a file.")
]
Mode = Annotated[
    str | None,
    typer.Option("--mode", metavar="overwrite|upsert", help="iceberg, delta: all rows, or by record_id."),
]
Catalog = Annotated[
    str | None, typer.Option("--catalog", metavar="NAME", help="iceberg: the one in pyiceberg's settings.")
]

Certificates = Annotated[
    str | None,
    typer.Option("--sign", metavar="CHAIN", help="Sign each image (C2PA); the certificates, in PEM."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--sign-key", metavar="KEY", help="Its private key: a file, env:NAME, or call:module:function."
    ),
]


@app.command(cls=Command)
def export(
    context: typer.Context,
    destination: Annotated[
        str, typer.Argument(metavar="DEST", help="A new directory or URI; of iceberg namespace.table.")
    ],
    form: Annotated[Form, typer.Option("--as", help="What is made of the results.")],  # type: ignore[valid-type]
    run: Run = None,
    output: Output = None,
    config: OfConfig = None,
    where: Where = None,
    approved_only: Approved = False,
    decisions: Decisions = None,
    sign: Certificates = None,
    sign_key: Key = None,
    any_status: AnyStatus = False,
    names: Names = None,
    root: Root = None,
    format: Format = None,
    shard: ShardRecords = None,
    mode: Mode = None,
    catalog: Catalog = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Hand over good results: as image files, tars, Parquet with images, CSV, or as a table.

    What is there already is left alone, and nothing is overwritten. It goes on from wherever an earlier call
    stopped.
    """
    options = {
        "destination": destination,
        "form": str(form),
        "where": where,
        "approved_only": approved_only,
        "decisions": decisions,
        "signing": _name_key(sign, sign_key),
        "any_status": any_status,
        "names": names,
        "root": root,
        "format": format,
        "shard_records": shard,
        "mode": mode,
        "catalog": catalog,
    }
    settings = load_export(options | _find_source(run, output, config, set_ or ()), set_ or ())
    with get_interrupts(context).run(settings.backend == "inline") as stop, ExportProgress(err) as progress:
        found = export_results(settings, stop, progress.tell, dry).dump()
    if as_json:
        print_json(found)
        return
    for line in describe_export(found):
        print_text(line)


def _name_key(certificates: str | None, key: str | None) -> dict[str, str] | None:
    if certificates is None and key is None:
        return None
    if certificates is None or key is None:
        raise ConfigError("export: --sign and --sign-key go together: the certificates, and their key")
    elsewhere = key.startswith(("env:", "call:"))
    return {"certificates": make_absolute(certificates), "key": key if elsewhere else make_absolute(key)}


def _find_source(run: str | None, output: str | None, config: Path | None, sets: Any) -> dict[str, Any]:
    """Of what, and how it is reached and carried out: as its runs were."""
    if sum(given is not None for given in (run, output, config)) != 1:
        raise ConfigError("export: give --run DIR, --catalogue DIR or --config FILE, one of them")
    if config is not None:
        job = load_job_config(config, [])
        found = job.model_dump(mode="json", include=set(_FROM_RUN))
        return found | {"source": job.output.uri}
    if run is not None:
        uri = make_absolute(run).rstrip("/")
        about = read_last_config(open_store(uri, read_storage(sets), make=False))
        known = {name: about[name] for name in _FROM_RUN if name in about}
        return known | {"source": uri, "one_run": True}
    return {"source": output}
