"""One record's trajectory: found in a run, or wherever the catalogue says that its result is now."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mira_batch.config.base import make_absolute
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError, UserError
from mira_batch.storage import schema
from mira_batch.storage.catalogue.lookup import find_record
from mira_batch.storage.catalogue.place import open_catalogue
from mira_batch.storage.run.history import read_columns, read_result_file, shard_in
from mira_batch.storage.run.layout import RUN, read_edit_run
from mira_batch.storage.run.results import result_files, take_rows
from mira_batch.storage.run.rollouts import count_rollouts
from mira_batch.storage.run.step_images import find_step_image
from mira_batch.storage.stores import Store, open_store

_ENDINGS = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpg"), (b"RIFF", "webp"))
_WRITTEN = re.compile(r"(step-\d+|result)\.\w+")
"""Names of the files that images are written to."""


@dataclass(frozen=True)
class FoundTrajectory:
    """What the loop did with a record."""

    run: Store
    """The directory of its run."""
    row: Mapping[str, Any]
    """Its row of the results, images and all."""

    def dump(self) -> dict[str, Any]:
        """The row without its images, and its run."""
        steps = [{name: step[name] for name in step if name != "image"} for step in self.row["steps"]]
        return {"run": self.run.uri} | {n: self.row[n] for n in self.row if n != "image"} | {"steps": steps}

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Names and encoded images: each step's that was kept, and the result."""
        for step in self.row["steps"]:
            image = step["image"] or {}
            data = image.get("bytes")
            if data is None and (key := find_step_image(image.get("path"))):
                data = self.run.get(key)
            if data is not None:
                yield f"step-{step['index'] + 1:02d}", data
        if (result := (self.row["image"] or {}).get("bytes")) is not None:
            yield "result", result

    def write_images(self, folder: Path) -> list[Path]:
        """Write the images as files, and say which.

        Args:
            folder: where they go; made if it is not there.

        Raises:
            UserError: the folder can't be written, or has such files already: those of two trajectories
                would be taken for one. Nothing is written then.
        """
        written = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if there := sorted(path.name for path in folder.iterdir() if _WRITTEN.fullmatch(path.name)):
                raise UserError(
                    f"{folder}: has {there[0]} already, and nothing is overwritten; name another folder, or "
                    "delete its step-* and result.* files"
                )
            for name, data in self.images():
                ending = next((ending for start, ending in _ENDINGS if data.startswith(start)), "bin")
                written.append(folder / f"{name}.{ending}")
                written[-1].write_bytes(data)
        except OSError as error:
            raise UserError(f"{folder}: the images can't be written there: {error.strerror}") from None
        return written


def find_trajectory(
    where: str, record_id: str, storage: StorageConfig | None = None, rollout: int | None = None
) -> FoundTrajectory:
    """Find a record's trajectory. Of its run one row is read whole, and of others the ids.

    Args:
        where: the directory of a run; or that of all runs, of which the record's current result is taken.
        record_id: the record.
        storage: how to reach an object store; None uses the environment.
        rollout: which of a record's trajectories, of a run that made several.

    Raises:
        ConfigError: there is no such record, or no such rollout, or none is named and there are several.
        RunConflict: the run is of another job.
        StoreError: there is no run, or its results can't be read.
    """
    storage = storage or StorageConfig()
    uri = make_absolute(where).rstrip("/")
    if (store := open_store(uri, storage, make=False)).exists(RUN):
        _check_rollout(count_rollouts(read_edit_run(store)), rollout, uri)
        run, (shard, position) = uri, _find_in_run(uri, record_id, storage, rollout)
    else:
        _check_rollout(1, rollout, uri)
        catalogue = open_catalogue(uri, "edit", storage, make=False)
        known = find_record(catalogue, record_id, schema.RESULTS, _raise)
        current = [row for row in known.to_pylist() if row["current"]]
        if not current:
            raise ConfigError(f"{uri}: no run of the edit job under it has a record {record_id!r}")
        run, shard, position = f"{uri}/{current[0]['run']}", current[0]["shard"], current[0]["row"]
    return read_trajectory(run, (shard, position), storage)


def index_works(run: str, storage: StorageConfig) -> dict[str, tuple[int, int]]:
    """Shard of each trajectory of a run, and its row in that, by work_id.

    Args:
        run: the run's directory.
        storage: how it is reached.

    Raises:
        RunConflict: it is no run of the edit job.
        StoreError: it can't be read.
    """
    read_edit_run(open_store(run, storage, make=False))
    return {
        work: (shard_in(file), place)
        for file, table in read_columns(run, ["work_id"], schema.RESULTS, storage, _raise)
        for place, work in enumerate(table["work_id"].to_pylist())
    }


def read_trajectory(run: str, place: tuple[int, int], storage: StorageConfig) -> FoundTrajectory:
    """A row of a run's results, whole.

    Args:
        run: the run's directory.
        place: the shard, and the row in it.
        storage: how it is reached.

    Raises:
        StoreError: it is gone, or can't be read.
    """
    shard, position = place
    fs, files = result_files(run, storage)
    by_shard = {shard_in(file): file for file in files}
    if shard not in by_shard:
        raise StoreError(f"{run}: the result file of shard {shard} is gone, and with it this record")
    (row,) = read_result_file(
        fs,
        run,
        by_shard[shard],
        list(schema.RESULTS),
        lambda parquet: [
            row for table in take_rows(parquet, [position], schema.RESULTS.names) for row in table.to_pylist()
        ],
        storage,
    )
    return FoundTrajectory(open_store(run, storage, make=False), row)


def _check_rollout(there: int, rollout: int | None, where: str) -> None:
    if there == 1 and rollout is not None:
        raise ConfigError(f"--rollout: {where} has one trajectory of each record; leave it out")
    if there > 1 and (rollout is None or rollout >= there):
        raise ConfigError(
            f"{where}: has {there} rollouts of each record; name one with --rollout 0 to {there - 1}"
        )


def _find_in_run(run: str, record_id: str, storage: StorageConfig, rollout: int | None) -> tuple[int, int]:
    for file, table in read_columns(run, ["record_id", "rollout"], schema.RESULTS, storage, _raise):
        names = list(zip(table["record_id"].to_pylist(), table["rollout"].to_pylist(), strict=True))
        if (record_id, rollout) in names:
            return shard_in(file), names.index((record_id, rollout))
    raise ConfigError(f"{run}: has no result of a record {record_id!r} (yet)")


def _raise(error: StoreError) -> None:
    raise error
