"""The layout of a run's directory, and `run.json`, which with `calls/` reruns the run as it was last called.

<output>/<run_id>/run.json             resolved config, versions, what the manifest was, when it was begun
                  calls/….json         the same of each later call whose config was another
                  models.json          identity of each model, once the first worker has loaded them
                  plan/plan.json       the marker: the plan is whole; names its files
                  plan/plan-….parquet  many shards a file, a row group each
                  plan/rejects.parquet manifest rows that can't be used, and why
                  state/<shard>/<work_id>/<k>.step   steps of shards not yet committed
                  steps/<work_id>/<k>-<digest>.<format>   step images kept as references
                  results/part-<shard>.parquet        one per committed shard
                  receipts/….json      sums of what was committed, a file per call of the driver
                  lease.json           who is at work on the run, while somebody is
                  report.html          a picture of what happened; report.data/ beside it where that is large
                  review.html          the page on which people look results through; review.data/ likewise
                  decisions/….jsonl    what they said, a file for each that `decide` was given
                  profile.json         where the time of the last `run --profile` went, as a chrome trace
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict, StoreError, describe
from mira_batch.core.identity import fingerprint as hash_settings
from mira_batch.core.version import __version__, name_versions
from mira_batch.storage.stores import Store, open_store

RUN = "run.json"
MODELS = "models.json"
PLAN = "plan/plan.json"
REJECTS = "plan/rejects.parquet"
REPORT = "report.html"
REPORT_FILES = "report.data"
REVIEW = "review.html"
REVIEW_FILES = "review.data"
LIVE = "live.json"
LEASE = "lease.json"
PROFILE = "profile.json"
RECEIPTS = "receipts"
COPY_OF = "kept_of"
"""Key in the `run.json` of a run that is a copy of rows of another: the name of that one."""
_READ = ("input", "manifest_content", "select", "first")
"""Settings of a run that say what it read."""
_PART = re.compile(r"results/part-(\d{5,})\.parquet")


def result_key(shard: int) -> str:
    """Key of the object that commits a shard."""
    return f"results/part-{shard:05d}.parquet"


def shard_of(key: str) -> int | None:
    """The shard that a result object commits; None for anything else that lies there."""
    match = _PART.fullmatch(key)
    return int(match[1]) if match else None


def state_prefix(shard: int) -> str:
    """Prefix of a shard's step state and attempt log."""
    return f"state/{shard:05d}"


class DamagedFile(StoreError):
    """A file of a run is there, but is not what it should be."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run is: all that decides its name, its directory and its `run.json`."""

    job: str
    """Name of the job."""
    output: str
    """Directory of all runs."""
    source: str
    """Where the job reads its records from; the run is named after it."""
    files: Sequence[tuple[str, str]]
    """What the job reads: path and version of each file."""
    fingerprint: str
    """Hash of what decides the work ids, and so the results."""
    settings: Mapping[str, Any]
    """What a run can't change half-way: everything that decides records, results and the rows' form."""
    config: Mapping[str, Any]
    """The resolved config, as JSON data."""
    storage: StorageConfig
    run_id: str | None = None
    """The configured run id; None derives one from `settings`."""
    day: str = ""
    """The configured run id where it has a date: of a day there may be several runs."""
    number: int = 1
    """Which of the runs of the same settings over the same files it is."""

    @property
    def name(self) -> str:
        """The run's id: as configured, or made from the settings and the state of the files."""
        if self.run_id:
            return self.run_id
        return self.series if self.number == 1 else f"{self.series}-{self.number}"

    @property
    def series(self) -> str:
        """Name of the first run of the same settings over the same files, or of the same day."""
        if self.day:
            return self.day
        parts = [
            re.sub(r"[^A-Za-z0-9]+", "-", part.split(".")[0]).strip("-") for part in self.source.split("/")
        ]
        names = [part for part in parts if part and part != "manifest"]
        return f"{names[-1][:40] if names else 'run'}-{hash_settings(self.settings)[:10]}"

    @property
    def uri(self) -> str:
        """The run's directory."""
        return f"{self.output}/{self.name}"


def find_newest(spec: RunSpec, but: Container[str] = ()) -> RunSpec | None:
    """The newest run of the same settings over the same files, if there is one; with a configured id, the one
    of that id.

    Args:
        spec: one of them.
        but: names of runs that are none any more.

    Raises:
        StoreError: the store can't be used.
    """
    try:
        output = open_store(spec.output, spec.storage, make=False)
    except StoreError:  # no such directory; a scheme that can't be used is refused again by `open_run`
        return None
    names = {name for name in output.list_folders() if name not in but}
    found = [spec] if spec.name in names else []
    if spec.run_id is None:
        pattern = re.compile(rf"{re.escape(spec.series)}-(\d+)")
        numbers = [int(match[1]) for name in names if (match := pattern.fullmatch(name))]
        found += [replace(spec, number=number) for number in sorted(numbers)]
    return found[-1] if found else None


def has_settings_of(spec: RunSpec) -> bool:
    """Whether the run of this name was begun with these settings over these files.

    Raises:
        StoreError: the store can't be used, or its `run.json` is damaged.
    """
    return not _find_changes(read_run(open_store(spec.uri, spec.storage, make=False)), spec)


def find_run(spec: RunSpec) -> Store | None:
    """The run's directory, which is looked at only; None where it holds no `run.json` yet.

    Raises:
        RunConflict, StoreError: as `open_run`.
    """
    store = open_store(spec.uri, spec.storage, make=False)
    if not store.exists(RUN):
        return None
    _check_standing(store, spec)
    return store


def open_run(spec: RunSpec) -> Store:
    """Open the run's directory, writing `run.json` when it is new.

    Raises:
        RunConflict: the run id is taken by a run of other settings; the message shows the difference.
        StoreError: the store can't be used, or `run.json` is damaged.
    """
    store = open_store(spec.uri, spec.storage)
    document = {
        "mira_batch": __version__,
        "run_id": spec.name,
        "job": spec.job,
        "created": datetime.now(UTC).isoformat(),
        "fingerprint": spec.fingerprint,
        "settings": spec.settings,
        "manifest": [{"path": path, "version": version} for path, version in spec.files],
        "versions": name_versions(),
        "config": {**spec.config, "run_id": spec.name},
    }
    if not store.create(RUN, json.dumps(document, indent=2).encode()):
        _check_standing(store, spec)
    return store


def _check_standing(store: Store, spec: RunSpec) -> None:
    standing = read_run(store)
    if job_of(standing) != spec.job:
        raise RunConflict(
            f"{store.uri}: this run is of another job, {job_of(standing)}; choose another run_id or "
            "output.uri"
        )
    if changed := _find_changes(standing, spec):
        lines = "\n".join(f"  {line}" for line in changed)
        raise RunConflict(
            f"{store.uri}: this run was started with other settings:\n{lines}\n"
            "choose another run_id (or leave it out), or restore the settings"
        )


def _find_changes(standing: Mapping[str, Any], spec: RunSpec) -> list[str]:
    return list(_find_differences(standing["settings"], json.loads(json.dumps(spec.settings))))


def job_of(run: Mapping[str, Any]) -> str:
    """Which job a run is of, by its `run.json`; the first runs knew only one."""
    return run.get("job", "edit")


def name_source(settings: Mapping[str, Any]) -> str:
    """The manifest that a run is over, by its settings; empty of a job that names it otherwise."""
    return settings.get("input", {}).get("manifest", "")


def hash_form(settings: Mapping[str, Any]) -> str:
    """Hash of a run's settings but for what it read: of what decides what it makes of a record, and in which
    form.

    Args:
        settings: of its `run.json`.
    """
    return hash_settings(_drop_read(settings))


def find_changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What decides results or their form and differs between the settings of two runs, a line for each:
    "pixels.editor.steps: was 20, now 28".

    Args:
        old, new: of their `run.json`.
    """
    return list(_find_differences(_drop_read(old), _drop_read(new)))


def _drop_read(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings but for what was read."""
    return {name: value for name, value in settings.items() if name not in _READ}


def read_run(store: Store) -> dict[str, Any]:
    """`run.json` of a run.

    Raises:
        RunConflict: there is none.
        StoreError: it is damaged.
    """
    found = store.read(RUN, lambda data: parse_run(data, store.locate(RUN)))
    if found is None:
        raise RunConflict(f"{store.uri}: holds no run (no {RUN}); check output.uri and run_id")
    return found


def read_edit_run(store: Store) -> dict[str, Any]:
    """`run.json` of a run of the edit job, whose results no other job has.

    Raises:
        RunConflict: there is none, or it is of another job.
        StoreError: it is damaged.
    """
    about = read_run(store)
    if (job := job_of(about)) != "edit":
        raise RunConflict(f"{store.uri}: is a run of the job {job}; give one of the edit job")
    return about


def read_document(store: Store, key: str, *keys: str, cure: str | None = None) -> dict[str, Any] | None:
    """One of a run's JSON documents, which must hold these keys; None where there is none.

    Args:
        store: the run's directory.
        key: the document's.
        keys: what it must hold.
        cure: what to do where it is damaged, in words; None: what one does of a run.

    Raises:
        StoreError: it is damaged; it names the place.
    """
    return store.read(key, lambda data: parse_document(data, store.locate(key), *keys, cure=cure))


def parse_run(data: bytes, where: str) -> dict[str, Any]:
    """The contents of a `run.json`.

    Raises:
        DamagedFile: they are damaged, or not a run's; it names `where`.
    """
    return parse_document(data, where, "run_id", "fingerprint", "settings", "config")


def parse_document(data: bytes, where: str, *keys: str, cure: str | None = None) -> dict[str, Any]:
    """One of a run's JSON documents of `data`, which must hold these keys. `cure`: as of `read_document`.

    Raises:
        DamagedFile: it does not; it names `where`.
    """
    try:
        document = json.loads(data)
        problem = "" if isinstance(document, dict) else f"it holds a {type(document).__name__}"
    except (ValueError, RecursionError) as error:
        document, problem = {}, describe(error)
    if missing := [] if problem else [key for key in keys if key not in document]:
        problem = f"it lacks {', '.join(missing)}"
    if problem:
        raise DamagedFile(describe_damage(where, problem, cure))
    return document


def describe_damage(where: str, problem: str, cure: str | None = None) -> str:
    """What to say of a document at `where` with a `problem`, and what to do: `cure`, or that of a run's."""
    cure = cure or "restore it, or leave this run and choose another run_id or output.uri"
    return f"{where}: is damaged ({problem}); {cure}"


def _find_differences(old: Any, new: Any, path: str = "") -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _find_differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new and path == "manifest_content":
        yield "input.manifest: its files have changed since this run was planned"
    elif old != new:
        yield f"{path}: was {json.dumps(old)}, now {json.dumps(new)}"
