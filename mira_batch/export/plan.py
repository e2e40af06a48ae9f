"""What an export has still to make: what is chosen, compared with what is there, named and checked.

Nothing is written here. Whatever can be refused is refused by name before anything is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mira_batch.config.base import is_remote
from mira_batch.config.export import ExportConfig
from mira_batch.config.shared import ManifestConfig
from mira_batch.core.errors import RunConflict, describe
from mira_batch.export.choose import Choice
from mira_batch.export.ledger import Plan, read_part
from mira_batch.export.names import OWN, find_format, name_after_record, name_after_source
from mira_batch.export.rows import BUCKETS, read_each_file, spool_by_file
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import BucketSpool, RowSpool, digest_records
from mira_batch.storage.run.layout import read_edit_run
from mira_batch.storage.stores import Store

_MOST_BYTES = 255
"""Of a name in a folder, by which file systems are bound."""
_MOST_NAMED = 5
"""Collisions that a refusal names."""
_RECORDS = pa.schema([*schema.CHOSEN, ("digest", pa.binary(16))])
_KNOWN = pa.schema(
    [(name, pa.string()) for name in ("record_id", "work_id", "result_digest")]
    + [("made", pa.bool_()), ("there", pa.bool_()), ("digest", pa.binary(16))]
)
_NAMES = pa.schema(
    [("name", pa.string()), ("of", pa.string()), ("kind", pa.int8()), ("digest", pa.binary(16))]
)
_THERE, _OURS, _NEW, _FOLDER = range(4)
"""What a name is: of a file that lies there, of one that an export made, of one to be made, of a folder of
those."""


@dataclass
class Comparison:
    """What is chosen, by what is to be done for it."""

    already: int = 0
    """Rows that the destination has."""
    taken_away: int = 0
    """Rows that it had, and whose files somebody has taken away since."""
    planned: int = 0
    """Rows that a plan has that was begun: with it they are made."""
    new: int = 0
    """Rows that are in no plan yet."""
    other_format: int = 0
    """Of those, the ones whose source is in a format that isn't written, and that keep their own."""


@dataclass(frozen=True)
class Destination:
    """Where to, as it is now."""

    store: Store
    sizes: Mapping[str, int]
    """All that lies there: bytes by key."""
    plans: Sequence[Plan]


class Planner:
    """Compares, and holds the rows that are new, on the local disk where they are many. A context manager."""

    def __init__(self, config: ExportConfig, to: Destination, look: Callable[[], None]) -> None:
        """
        Args:
            config: the export's.
            to: where to.
            look: called now and then; what it raises ends the comparison.
        """
        self._config = config
        self._to = to
        self._look = look
        self._stack = ExitStack()
        self.found = Comparison()
        self._rows = RowSpool(schema.EXPORTED)

    def __enter__(self) -> Planner:
        self._stack.enter_context(self._rows)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def compare(self, choice: Choice) -> Comparison:
        """Find what is new of a choice, and what its files are called.

        Raises:
            RunConflict: the destination has an earlier result of a record, or a file under a name that is
                wanted; or two records want the same name. The message names them.
            StoreError: a store can't be used.
        """
        with spool_by_file(schema.CHOSEN) as new, BucketSpool(BUCKETS, _NAMES) as names:
            self._find_new(choice, new)
            for table in self._name_rows(choice, new):
                self._rows.add(table)
                names.add(_note_names(table["name"], table["record_id"], _NEW))
                names.add(_note_names(_list_folders(table["name"]), None, _FOLDER))
            if self._config.form == "folder" and self.found.new:
                for table in self._read_ledger():
                    names.add(_note_names(table["name"], table["record_id"], _OURS))
                there = pa.array([k for k in self._to.sizes if not k.startswith(f"{OWN}/")], pa.string())
                names.add(_note_names(pa.chunked_array([there]), None, _THERE))
                names.add(_note_names(_list_folders(pa.chunked_array([there])), None, _FOLDER))
                self._refuse_collisions(names)
        return self.found

    def read(self) -> Iterator[pa.Table]:
        """The rows that are new (schema `EXPORTED`)."""
        return self._rows.read()

    def _read_ledger(self) -> Iterator[pa.Table]:
        """All rows of the plans there are; whether each is made, and whether its file is there."""
        for plan in self._to.plans:
            for part in range(len(plan.sizes)):
                self._look()
                rows = read_part(self._to.store, plan.number, part, self._config.storage)
                made = [plan.done or part in plan.made] * rows.num_rows
                if self._config.form == "folder":
                    there = [name in self._to.sizes for name in rows["name"].to_pylist()]
                else:
                    there = [part in plan.made] * rows.num_rows
                yield rows.append_column("made", pa.array(made)).append_column("there", pa.array(there))

    def _find_new(self, choice: Choice, new: BucketSpool) -> None:
        with BucketSpool(BUCKETS, _RECORDS) as chosen, BucketSpool(BUCKETS, _KNOWN) as known:
            for table in choice.tables:
                digests = digest_records(table["record_id"].to_pylist())
                chosen.add(table.append_column("digest", digests).cast(_RECORDS))
            for table in self._read_ledger():
                digests = digest_records(table["record_id"].to_pylist())
                known.add(table.append_column("digest", digests).select(_KNOWN.names).cast(_KNOWN))
            changed: list[str] = []
            for bucket in range(BUCKETS):
                self._look()
                rows = chosen.read(bucket)
                there = {row["record_id"]: row for row in known.read(bucket).to_pylist()}
                new.add(rows.filter(self._tell_new(rows, there, changed)).drop_columns("digest"))
        if changed:
            raise RunConflict(
                f"{self._config.destination}: has an earlier result of {_list_some(changed)}, and nothing is "
                "overwritten; export into another destination, or leave them out with --where"
            )

    def _tell_new(self, rows: pa.Table, there: Mapping[str, Any], changed: list[str]) -> pa.Array:
        """Whether each row is in no plan; the records of which another row is are noted in `changed`."""
        told = ("result_digest",) if self._config.form == "folder" else ("work_id", "result_digest")
        flags = []
        for row in rows.to_pylist():
            known = there.get(row["record_id"])
            flags.append(known is None)
            if known is None:
                self.found.new += 1
            elif any(known[name] != row[name] for name in told):
                changed.append(repr(row["record_id"]))
            elif known["made"] and known["there"]:
                self.found.already += 1
            elif known["made"]:
                self.found.taken_away += 1
            else:
                self.found.planned += 1
        return pa.array(flags, pa.bool_())

    def _name_rows(self, choice: Choice, new: BucketSpool) -> Iterator[pa.Table]:
        config, runs = self._config, _Runs(choice.runs, self._config)
        by_source = config.form == "folder" and "source" in (config.names, config.format)
        columns = ["source"] if by_source else []
        for rows, read in read_each_file(choice.output, new, columns, config.storage, self._look):
            names, formats = [], []
            sources = read["source"].to_pylist() if by_source else [None] * rows.num_rows
            own, roots = runs.look_up(rows["run"][0].as_py())
            for record, source in zip(rows["record_id"].to_pylist(), sources, strict=True):
                format = find_format(source, own) if config.format == "source" and source else own
                if config.format == "source" and source and find_format(source, "") == "":
                    self.found.other_format += 1
                names.append(_name(config, record, source, roots, format))
                formats.append(format if config.form in ("folder", "webdataset") else None)
            table = rows.append_column("name", pa.array(names, pa.string()))
            yield table.append_column("format", pa.array(formats, pa.string())).cast(schema.EXPORTED)

    def _refuse_collisions(self, names: BucketSpool) -> None:
        found: list[str] = []
        for bucket in range(BUCKETS):
            self._look()
            known: dict[str, tuple[int, str | None]] = {}
            rows = names.read(bucket).sort_by("kind").to_pylist()
            ours = {row["name"] for row in rows if row["kind"] == _OURS}
            for row in rows:
                name, kind = row["name"], row["kind"]
                earlier = known.get(name)
                if kind == _NEW and self._is_too_long(name):
                    found.append(f"{name} of {row['of']!r} is too long for a file's name")
                if kind == _THERE and name in ours:
                    continue
                if kind == _NEW and earlier is not None:
                    whose = {_THERE: "is there already", _OURS: f"is the result of {earlier[1]!r}"}
                    other = whose.get(earlier[0], f"is wanted by {earlier[1]!r}")
                    found.append(f"{name} of {row['of']!r} {other}")
                elif kind == _FOLDER and earlier is not None and earlier[0] != _FOLDER:
                    found.append(f"{name} is a file and a folder")
                if earlier is None:
                    known[name] = kind, row["of"]
        if found:
            raise RunConflict(
                f"{self._config.destination}: {_list_some(found, '; ')}. Nothing was written. "
                "`--names record` calls files by their record_id, --root keeps more folders, and another "
                "destination is empty"
            )

    def _is_too_long(self, name: str) -> bool:
        parts = [] if is_remote(self._config.destination) else name.split("/")
        return any(len(os.fsencode(part)) > _MOST_BYTES for part in parts)


class _Runs:
    """What is to be known of runs to name their results."""

    def __init__(self, stores: Mapping[str, Store], config: ExportConfig) -> None:
        self._stores = stores
        self._config = config
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}

    def look_up(self, run: str) -> tuple[str, tuple[str, ...]]:
        """The format of its results, and the directories that its sources lie under."""
        if run not in self._known:
            about = read_edit_run(self._stores[run])["config"]
            given = about.get("input", {})
            root = self._config.root
            try:
                roots = (root,) if root is not None else _find_roots(given)
            except ValueError as error:
                where = self._stores[run].uri
                raise RunConflict(f"{where}: its input can't be understood: {describe(error)}") from error
            self._known[run] = about.get("output", {}).get("format", "png"), roots
        return self._known[run]


def _find_roots(given: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = {name: given[name] for name in ("manifest", "allow") if name in given}
    return ManifestConfig.model_validate(wanted).allowed


def _name(
    config: ExportConfig, record: str, source: str | None, roots: Sequence[str], format: str
) -> str | None:
    match config.form:
        case "webdataset":
            return name_after_record(record, None)
        case "folder":
            by_source = config.names == "source" and source
            name = name_after_source(source, roots, format) if by_source and source else None
            return name or name_after_record(record, format)
        case _:
            return None


def _note_names(names: pa.ChunkedArray, of: pa.ChunkedArray | None, kind: int) -> pa.Table:
    rows = len(names)
    owner = pa.nulls(rows, pa.string()) if of is None else of
    digests = digest_records([name or "" for name in names.to_pylist()])
    return pa.table([names, owner, pa.array([kind] * rows, pa.int8()), digests], schema=_NAMES)


def _list_folders(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each folder that some names are in, once."""
    found: set[str] = set()
    for name in names.to_pylist():
        folder = (name or "").rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return pa.chunked_array([pa.array(sorted(found), pa.string())])


def _list_some(words: Iterable[str], between: str = ", ") -> str:
    """The first few of them, and how many more there are."""
    some = sorted(words)
    more = f"{between}and {len(some) - _MOST_NAMED:,} more" if len(some) > _MOST_NAMED else ""
    return between.join(some[:_MOST_NAMED]) + more
