"""The whole state as one table, Iceberg, Delta or Lance: columns and URIs, in one commit.

A table is replaced as a whole, or its rows are updated and inserted by record_id; it is never appended to,
which would double it when a command is given again. With each commit goes a digest of the state, so that the
same state is not committed twice. A table that no export made is left alone.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

import pyarrow as pa

from mira_batch.config.base import is_remote, make_absolute
from mira_batch.config.export import ExportConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RunConflict, StoreError, describe
from mira_batch.storage import schema
from mira_batch.storage.stores import find_endpoint, find_profile, find_region, open_store

STATE = "mira-batch.state"
"""What a commit says of the state that it wrote: a digest."""
_MADE_BY = "mira-batch export"


class Table(Protocol):
    """A table of some format."""

    def read_state(self) -> str | None:
        """The digest of the state that the newest commit wrote; None where there is no table, or somebody
        else has written to it since.

        Raises:
            RunConflict: the table is none that an export made.
        """
        ...

    def replace(self, rows: pa.RecordBatchReader, state: str) -> None:
        """Make these rows (schema `TABLE`) the whole table, in one commit that is marked with `state`."""
        ...

    def upsert(self, rows: pa.RecordBatchReader, state: str) -> None:
        """Update the rows of these records, and insert those that are not there; all are in memory."""
        ...


def open_table(config: ExportConfig) -> Table:
    """The table that an export writes. Nothing is made.

    Raises:
        ConfigError: a package is missing; it names the extra. Or the catalogue isn't configured.
        RunConflict: there is a table that no export made.
        StoreError: it can't be reached.
    """
    kinds: dict[str, type[_Delta] | type[_Iceberg] | type[_Lance]]
    kinds = {"iceberg": _Iceberg, "delta": _Delta, "lance": _Lance}
    return kinds[config.form](config)


def commit(table: Table, config: ExportConfig, rows: Iterator[pa.Table], state: str) -> None:
    """Write a state to its table, in one commit.

    Args:
        table: which.
        config: the export's.
        rows: all of it (schema `TABLE`).
        state: its digest.

    Raises:
        StoreError: the table can't be written; it is as it was.
    """
    batches = (batch for some in rows for batch in some.to_batches())
    reader = pa.RecordBatchReader.from_batches(schema.TABLE, batches)
    with _boundary(config):
        (table.upsert if config.mode == "upsert" else table.replace)(reader, state)


class _boundary:
    """Inside, what a table's library raises is said in a line that names the table."""

    def __init__(self, config: ExportConfig) -> None:
        self._where = f"{config.form} table {config.destination}"

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, ConfigError | RunConflict | StoreError):
            raise StoreError(f"{self._where}: {describe(error)}") from error


def _import(module: str, package: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"--as {extra} needs the package {package}: pip install 'mira-batch[{extra}]'"
        ) from error


class _Delta:
    """A Delta table in a directory, through deltalake."""

    def __init__(self, config: ExportConfig) -> None:
        self._library = _import("deltalake", "deltalake", "delta")
        self._uri = make_absolute(config.destination)
        self._options = _find_options(config.storage) if self._uri.startswith("s3") else None
        self._config = config
        with _boundary(config):
            there = self._library.DeltaTable.is_deltatable(self._uri, storage_options=self._options)
            self._table: Any = self._open() if there else None
        if self._table is not None and self._table.metadata().description != _MADE_BY:
            raise _foreign(config)

    def _open(self) -> Any:
        return self._library.DeltaTable(self._uri, storage_options=self._options)

    def read_state(self) -> str | None:
        if self._table is None:
            return None
        with _boundary(self._config):
            newest = self._table.history(1)
        return newest[0].get(STATE) if newest else None

    def _mark(self, state: str) -> Any:
        return self._library.CommitProperties(custom_metadata={STATE: state})

    def replace(self, rows: pa.RecordBatchReader, state: str) -> None:
        self._library.write_deltalake(
            self._table if self._table is not None else self._uri,
            rows,
            mode="overwrite",
            schema_mode="overwrite" if self._table is not None else None,
            description=_MADE_BY,
            storage_options=self._options,
            commit_properties=self._mark(state),
        )

    def upsert(self, rows: pa.RecordBatchReader, state: str) -> None:
        if self._table is None:
            return self.replace(rows, state)
        if self._table.metadata().partition_columns:
            raise _partitioned(self._config)
        merging = self._table.merge(
            rows.read_all(),
            predicate="old.record_id = new.record_id",
            source_alias="new",
            target_alias="old",
            commit_properties=self._mark(state),
        )
        merging.when_matched_update_all().when_not_matched_insert_all().execute()


def _find_options(storage: StorageConfig) -> dict[str, str]:
    """What deltalake and Lance are to be told of an S3 store. Keys in the environment they find as we do."""
    profile = find_profile()
    host, region = find_endpoint(storage, profile), find_region(storage, profile)
    options = {"AWS_REGION": region or "us-east-1", "timeout": f"{storage.timeout_seconds:g}s"}
    if profile is not None:
        key = profile()
        options |= {
            "AWS_ACCESS_KEY_ID": key["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": key["secret_access_key"],
        }
        if token := key.get("token"):
            options["AWS_SESSION_TOKEN"] = token
    if host:
        options |= {"AWS_ENDPOINT_URL": host, "AWS_ALLOW_HTTP": str(host.startswith("http://")).lower()}
    return options


class _Lance:
    """A Lance dataset in a directory, through pylance. Its merge takes no mark; so there is no upsert."""

    def __init__(self, config: ExportConfig) -> None:
        self._library = _import("lance", "pylance", "lance")
        if config.mode != "overwrite":
            raise ConfigError("--mode upsert: is for iceberg and delta; of lance the whole state is replaced")
        self._uri = make_absolute(config.destination)
        self._options = _find_options(config.storage) if self._uri.startswith("s3") else None
        self._table: Any = None
        versions = f"{self._uri}/_versions"
        if is_remote(versions) or os.path.isdir(versions):
            store = open_store(versions, config.storage, make=False)
            there = any(True for _ in store.list(""))
            with _boundary(config):
                self._table = self._open() if there else None
        made_by = (self._table.schema.metadata or {}).get(b"created-by") if self._table is not None else None
        if self._table is not None and made_by != _MADE_BY.encode():
            raise _foreign(config)

    def _open(self) -> Any:
        return self._library.dataset(self._uri, storage_options=self._options)

    def read_state(self) -> str | None:
        if self._table is None:
            return None
        newest = self._table.read_transaction(self._table.version)
        return (newest.transaction_properties or {}).get(STATE) if newest is not None else None

    def replace(self, rows: pa.RecordBatchReader, state: str) -> None:
        named = schema.TABLE.with_metadata({"created-by": _MADE_BY})
        self._library.write_dataset(
            pa.RecordBatchReader.from_batches(named, (batch.cast(named) for batch in rows)),
            self._uri,
            mode="create" if self._table is None else "overwrite",
            storage_options=self._options,
            transaction_properties={STATE: state},
        )

    def upsert(self, rows: pa.RecordBatchReader, state: str) -> None:
        raise NotImplementedError  # refused above


class _Iceberg:
    """A table of an Iceberg catalogue, through pyiceberg, whose own configuration says where that is."""

    def __init__(self, config: ExportConfig) -> None:
        catalogs = _import("pyiceberg.catalog", "pyiceberg", "iceberg")
        errors = _import("pyiceberg.exceptions", "pyiceberg", "iceberg")
        self._config = config
        self._name = tuple(config.destination.split("."))
        if len(self._name) < 2 or not all(self._name):
            raise ConfigError(f"{config.destination}: an Iceberg table is named as namespace.table")
        try:
            self._catalog: Any = catalogs.load_catalog(config.catalog)
        except Exception as error:  # the boundary of a library that reads its own configuration
            raise ConfigError(
                f"--catalog {config.catalog}: {describe(error)}; configure it in .pyiceberg.yaml, or by "
                f"PYICEBERG_CATALOG__{config.catalog.upper()}__URI and the like"
            ) from error
        with _boundary(config):
            try:
                self._table: Any = self._catalog.load_table(self._name)
            except (errors.NoSuchTableError, errors.NoSuchNamespaceError):
                self._table = None
        if self._table is not None and self._table.properties.get("created-by") != _MADE_BY:
            raise _foreign(config)
        if self._table is not None and self._table.spec().fields:
            raise _partitioned(config)

    def read_state(self) -> str | None:
        newest = self._table.current_snapshot() if self._table is not None else None
        return newest.summary.additional_properties.get(STATE) if newest is not None else None

    def replace(self, rows: pa.RecordBatchReader, state: str) -> None:
        self._make()
        self._table.overwrite(rows, snapshot_properties={STATE: state})

    def upsert(self, rows: pa.RecordBatchReader, state: str) -> None:
        self._make()
        # It leaves rows that are equal alone; then there may be nothing to commit, and no state.
        self._table.upsert(rows.read_all(), join_cols=["record_id"], snapshot_properties={STATE: state})

    def _make(self) -> None:
        if self._table is None:
            self._catalog.create_namespace_if_not_exists(self._name[:-1])
            self._table = self._catalog.create_table(
                self._name, schema.TABLE, properties={"created-by": _MADE_BY}
            )


def _foreign(config: ExportConfig) -> RunConflict:
    return RunConflict(
        f"{config.form} table {config.destination}: is there already, and no export made it; nothing is "
        "overwritten that is somebody else's: choose another name"
    )


def _partitioned(config: ExportConfig) -> RunConflict:
    return RunConflict(
        f"{config.form} table {config.destination}: is partitioned, and an upsert by record_id would double "
        "rows that change their partition; export into an unpartitioned one"
    )
