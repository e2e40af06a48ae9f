"""An export from its start to its end: choose, compare, write down, carry out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from mira_batch.config.base import is_remote, make_absolute
from mira_batch.config.export import TABLES, WITH_IMAGES, ExportConfig
from mira_batch.core.errors import ConfigError, RunStopped
from mira_batch.core.receipts import RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.export.choose import Choice, Counts, choose
from mira_batch.export.ledger import (
    Plan,
    check_destination,
    create_plans,
    finish_plan,
    mark_destination,
    read_plans,
)
from mira_batch.export.plan import Destination, Planner
from mira_batch.export.rows import read_each_file, spool_by_file
from mira_batch.export.signing import check_key
from mira_batch.export.table_rows import SOURCES, make_table_rows
from mira_batch.export.tables import commit, open_table
from mira_batch.export.writers import WRITTEN, Export, Part, write_part
from mira_batch.runtime.backends import Backend, make_backend
from mira_batch.storage import schema
from mira_batch.storage.stores import Store, open_store, resolve_links


@dataclass(frozen=True)
class ExportSummary:
    """What became of each record. `exported`, `already`, `taken_away` and the counts of those left out add up
    to `records`."""

    destination: str
    """Where to."""
    form: str
    """What was made."""
    counts: Counts
    """All records, and those that were left out."""
    exported: int = 0
    """Written by this call; in a dry run, those that would be."""
    already: int = 0
    """There before."""
    taken_away: int = 0
    """Exported before; their files are no longer there, and are not made again."""
    left_over: int = 0
    """Written as well, since an export that was cut short had begun with them; not chosen now."""
    other_format: int = 0
    """In the format of the results, since that of their source is none that is written."""
    bytes: int = 0
    """Written by this call; 0 of a table."""
    dry: bool = False
    """Nothing was written."""

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        counts = self.counts
        return {
            "destination": self.destination,
            "as": self.form,
            "records": counts.records,
            "exported": self.exported,
            "already": self.already,
            "taken_away": self.taken_away,
            "not_selected": counts.not_selected,
            "gone": counts.gone,
            "not_ok": counts.not_ok,
            "not_approved": counts.not_approved,
            "left_over": self.left_over,
            "other_format": self.other_format,
            "bytes": self.bytes,
            "dry_run": self.dry,
        }


Told = Callable[[int, int], None]
"""Told how many records are written, and of how many."""


def export(
    config: ExportConfig, stop: StopRequest | None = None, told: Told | None = None, dry: bool = False
) -> ExportSummary:
    """Hand over the good results of a run or of a catalogue, going on from wherever an earlier call stopped.

    Args:
        config: of what, to where, in which form.
        stop: by this a signal handler can end it in order.
        told: told how far it is.
        dry: only say what would be written.

    Raises:
        ConfigError: an option is wrong, or a package is missing; it names the extra.
        RunConflict: something is there that would have to be overwritten; nothing was written.
        RunStopped: `stop` was asked. The same call goes on.
        StoreError: a store can't be used, or a result is gone or damaged.
    """
    stop = stop or StopRequest()
    _check_options(config)

    def look() -> None:
        if stop.end is not None:
            summary = RunSummary(config.source, "export")
            raise RunStopped(
                stop.end, f"{stop.words}; nothing is lost, and the same command goes on", summary
            )

    with stop.heeding():
        choice = choose(config, look)
        if config.form != "iceberg":  # whose destination is a name
            config = config.model_copy(update={"destination": make_absolute(config.destination)})
            _refuse_runs(config.destination.rstrip("/"), choice)
        whole = _export_table if config.form in TABLES else _export_files
        return whole(config, choice, look, told or (lambda done, total: None), dry)


_MEANT_FOR: dict[str, tuple[str, Sequence[str]]] = {
    "signing": ("--sign", WITH_IMAGES),
    "any_status": ("--any-status", ("csv", *TABLES)),
    "names": ("--names", ("folder",)),
    "root": ("--root", ("folder",)),
    "format": ("--format", ("folder",)),
    "shard_records": ("--shard-records", ("webdataset", "hf")),
    "mode": ("--mode", TABLES),
    "catalog": ("--catalog", ("iceberg",)),
}
"""Settings that some forms alone have: the option, and the forms."""


def _check_options(config: ExportConfig) -> None:
    """Refuse what would be passed over in silence, and a key that doesn't sign."""
    for name, (option, forms) in _MEANT_FOR.items():
        if name in config.model_fields_set and getattr(config, name) and config.form not in forms:
            raise ConfigError(f"{option}: is for {', '.join(forms)}; {config.form} has no use for it")
    if config.decisions is not None and not config.approved_only:
        raise ConfigError("--decisions: is for --approved-only; without it nobody is asked")
    if config.signing is not None:
        check_key(config.signing)


def _export_files(
    config: ExportConfig, choice: Choice, look: Callable[[], None], told: Told, dry: bool
) -> ExportSummary:
    to = _look_at(config)
    with Planner(config, to, look) as planner:
        found = planner.compare(choice)
        summary = ExportSummary(
            config.destination,
            config.form,
            choice.counts,
            exported=found.new + found.planned,
            already=found.already,
            taken_away=found.taken_away,
            left_over=_count_left(to.plans) - found.planned,
            other_format=found.other_format,
            dry=dry,
        )
        if dry or not (found.new or any(not plan.done for plan in to.plans)):
            return summary
        store = open_store(config.destination, config.storage)
        plans = list(to.plans)
        if found.new:
            last = max((plan.number for plan in plans), default=0)
            plans += create_plans(config, store, choice.output, planner.read(), last)
    written = _carry_out(config, store, plans, look, told)
    if any(
        not plan.done for plan in to.plans
    ):  # an earlier call was cut short, perhaps in the middle of a file
        store.delete_temporaries(folders=False)
    return replace(summary, bytes=written)


def _refuse_runs(destination: str, choice: Choice) -> None:
    """Refuse the directory of all runs, and what belongs to one of them or to their catalogue."""
    output = resolve_links(choice.output)
    resolved = resolve_links(destination)
    if resolved == output:
        raise ConfigError(f"{destination}: is the directory of all runs; export into one of its own")
    if resolved.startswith(f"{output}/"):
        first, _, below = resolved[len(output) + 1 :].partition("/")
        if first == "catalogue" or (below and first in choice.runs):
            raise ConfigError(
                f"{destination}: belongs to {output}/{first}; export into a directory of its own"
            )


def _look_at(config: ExportConfig) -> Destination:
    """The destination as it is; where there is none, nothing is made."""
    if not is_remote(config.destination) and not os.path.isdir(config.destination):
        if os.path.lexists(config.destination):
            raise ConfigError(f"{config.destination}: is a file; give a directory")
        return Destination(open_store("memory://empty", config.storage), {}, [])
    store = open_store(config.destination, config.storage, make=False)
    check_destination(config, store)
    sizes = {entry.key: entry.size for entry in store.list("")}
    return Destination(store, sizes, read_plans(config.form, store, sizes.keys(), config.storage))


def _count_left(plans: Sequence[Plan]) -> int:
    return sum(plan.sizes[part] for plan in plans for part in plan.left)


def _carry_out(
    config: ExportConfig, store: Store, plans: Sequence[Plan], look: Callable[[], None], told: Told
) -> int:
    """Make what is left of all plans, the oldest first. Returns the bytes written."""
    total, done, written = _count_left(plans), 0, 0
    told(done, total)
    with ExitStack() as stack:
        backend = _start(config, total, stack)
        for plan in plans:
            parts = [Part(plan.number, part, plan.output) for part in plan.left]
            if parts:
                made: Iterator[pa.Table] = backend.read(Export(config), parts, write_part, WRITTEN, look)
                for row in (row for table in made for row in table.to_pylist()):
                    done, written = done + row["records"], written + row["bytes"]
                    told(done, total)
            if not plan.done:
                finish_plan(store, plan.number)
    return written


def _start(config: ExportConfig, records: int, stack: ExitStack) -> Backend:
    backend = make_backend("inline" if records < config.ray_from else config.backend)
    stack.enter_context(backend.start(config.workers))
    return backend


def _export_table(
    config: ExportConfig, choice: Choice, look: Callable[[], None], told: Told, dry: bool
) -> ExportSummary:
    table = open_table(config)
    with spool_by_file(schema.CHOSEN) as spool:
        digest = 0
        for rows in choice.tables:
            spool.add(rows)
            digest = (digest + _digest_rows(rows)) % (1 << 128)
        state = f"{config.mode}-{digest:032x}-{hashlib.sha256(str(schema.TABLE).encode()).hexdigest()[:8]}"
        same = table.read_state() == state
        chosen = choice.counts.chosen
        summary = ExportSummary(
            config.destination,
            config.form,
            choice.counts,
            exported=0 if same else chosen,
            already=chosen if same else 0,
            dry=dry,
        )
        if not (dry or same):
            commit(table, config, _read_rows(config, choice, spool, look, told), state)
        if not dry and config.form != "iceberg":  # whose files lie where its catalogue says
            mark_destination(config, open_store(config.destination, config.storage))
        return summary


def _digest_rows(rows: pa.Table) -> int:
    """A digest of rows that is the same in whatever order they come."""
    names = ("record_id", "work_id", "result_digest", "run", "shard", "row")
    texts = (repr(tuple(row[name] for name in names)) for row in rows.to_pylist())
    digests = (
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts
    )
    return sum(int.from_bytes(digest, "big") for digest in digests)


def _read_rows(
    config: ExportConfig, choice: Choice, spool: Any, look: Callable[[], None], told: Told
) -> Iterator[pa.Table]:
    done, total = 0, choice.counts.chosen
    for places, found in read_each_file(choice.output, spool, SOURCES, config.storage, look):
        done += places.num_rows
        told(done, total)
        yield make_table_rows(choice.output, places, found)
