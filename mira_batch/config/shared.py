"""The sections that every job's config has: where runs go, workers, limits of a run, prices, storage; and the
manifest, for the jobs that read one. What one job alone knows is in a file of its own."""

from __future__ import annotations

import codecs
import os
import re
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from mira_batch.config.base import Expanded, Location, Strict, find_secrets, is_remote
from mira_batch.config.prices import PricesConfig, check_max_cost
from mira_batch.core.types import Status

_NO_TEXT = ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined")
"""Encodings of Python's that no file is written in."""


class ImageColumns(Strict):
    """The manifest's names for what a job over images needs."""

    record_id: str = "record_id"
    """Column with the record's own, unique name."""
    image: str = "image"
    """Column with the image: a URI or path, bytes, or a Hugging Face image struct {bytes, path}."""

    def names(self) -> dict[str, str]:
        """What a row must have: our name of each column -> the manifest's."""
        return self.model_dump(exclude={"metadata"})

    def to_read(self) -> list[str] | None:
        """The columns that are worth reading; None: all."""
        return list(self.names().values())


class Columns(ImageColumns):
    """The manifest's names for what the job needs, and which of its other columns are carried along."""

    instruction: str = "instruction"
    """Column with the complex instruction."""
    metadata: tuple[str, ...] | None = Field(default=None, exclude_if=lambda names: names is None)
    """The columns to carry along as `metadata`, an empty list for none. None carries all the others."""

    def to_read(self) -> list[str] | None:
        """The columns that are worth reading; None: all."""
        return None if self.metadata is None else [*self.names().values(), *self.metadata]


class ManifestConfig(Strict):
    """A manifest, and which of its images may be read."""

    manifest: Location
    """A Parquet, JSONL or CSV file, a directory of them, or a glob; local or on an object store. What exists
    as it is written is no glob, whatever brackets or question marks are in its name."""
    columns: ImageColumns = ImageColumns()
    """How the manifest calls its columns."""
    encoding: str = Field(default="utf-8", exclude_if=lambda name: name == "utf-8")
    """What CSV and JSON are written in, where a file doesn't say so itself: `cp1252`, `latin-1`, `shift_jis`
    or any other that Python knows. UTF-8 and UTF-16 that begin with a byte-order mark are known by it."""
    allow: tuple[Location, ...] = ()
    """Image URIs must lie under one of these prefixes. Empty: under the manifest's own directory; of a glob,
    and of a URI with `*`, `?` or `[` in it, under the last directory before these."""
    identity: Literal["etag", "uri"] = "etag"
    """What tells that an image changed: its ETag (local: size and time), one look-up per image while
    planning; or only its URI, which is free and right where an image never changes under its name."""
    max_bytes: int = Field(default=50_000_000, ge=1, le=2_000_000_000)
    """Encoded images above this size, in bytes, are refused before they are decoded."""
    max_pixels: int = Field(default=50_000_000, ge=1, le=89_478_485)
    """Images with more pixels are refused before they are decoded."""

    @field_validator("encoding")
    @classmethod
    def _text_encoding(cls, value: str) -> str:
        try:
            "a".encode(value)
            name = codecs.lookup(value).name
            if name in _NO_TEXT:
                raise ValueError
        except (LookupError, ValueError):
            raise ValueError(
                f"{value!r} is no text encoding that Python knows, such as utf-8, cp1252 or latin-1"
            ) from None
        return "utf-8" if name == "utf-8-sig" else name

    @property
    def begins_within(self) -> bool:
        """Whether its records begin from states of trajectories of an earlier run."""
        return False

    @property
    def allowed(self) -> tuple[str, ...]:
        """The prefixes that image URIs must lie under."""
        if self.allow:
            return self.allow
        is_literal = not is_remote(self.manifest) and os.path.exists(self.manifest)
        fixed = self.manifest if is_literal else re.split(r"[*?\[]", self.manifest, maxsplit=1)[0]
        ends = re.compile(r"\.(parquet|pq|jsonl|ndjson|json|csv)(\.gz)?$", re.IGNORECASE)
        is_file = fixed != self.manifest or ends.search(fixed)
        return (fixed.rpartition("/")[0] if is_file else fixed,)


class RunOutput(Strict):
    """Where runs go."""

    uri: Location
    """Directory of all runs; a run writes under `<uri>/<run_id>/`."""
    skip_done: bool = True
    """Leave out records that an earlier run under the same `uri` already has with status ok."""
    skip_unfinished: bool = False
    """With `skip_done`, leave out also those that it has with status unfinished. Else each new run makes them
    again, as it does failed ones; the same models within the same limits end them alike, at full price."""

    @property
    def done_statuses(self) -> tuple[Status, ...]:
        """The statuses of earlier rows that need no further run."""
        if not self.skip_done:
            return ()
        return (Status.ok, Status.unfinished) if self.skip_unfinished else (Status.ok,)


class RunLimits(Strict):
    """What bounds a whole run."""

    max_failed_fraction: float = Field(default=1.0, ge=0, le=1)
    """The run stops, to be resumed, when more than this part of its records failed: a wrong prompt or a
    broken model then costs hundreds of records and not a million. Unfinished records don't count as failed.
    1 never stops."""
    min_records: int = Field(default=100, ge=1)
    """Records that must have ended before `max_failed_fraction` is looked at."""
    deadline: str | None = None
    """When the run is to end in order, to be resumed: so long after its start (`8h`, `90m`, `1h30m`, `45s`),
    or at a time with its zone (`2026-12-01T06:00:00+01:00`). None sets none."""
    max_cost: float | None = Field(default=None, gt=0)
    """US dollars for which the run ends in order, to be resumed with a higher limit: its GPUs by
    `prices.gpu_hour`, and what endpoints charge by the `prices` of their models, over all calls of the run.
    It is looked at when a call begins and whenever a shard is committed, and refused where nothing has a
    price. None sets none."""
    grace_seconds: float = Field(default=25.0, ge=0)
    """When a run is told to end (a signal, a deadline), how long the steps in hand may take to be
    finished and logged. Kubernetes leaves a pod 30 seconds by default."""
    stall_seconds: float = Field(default=300.0, gt=0)
    """When nothing has moved for so long, the run says so, and what is in flight. It changes nothing."""

    @property
    def longest_call(self) -> float:
        """Most seconds that a call of a model may take; where a job sets no limits, as long as an edit."""
        return 900.0

    OPERATIONAL: ClassVar[frozenset[str]] = frozenset(
        {"max_failed_fraction", "min_records", "deadline", "max_cost", "grace_seconds", "stall_seconds"}
    )
    """What stops a run or a process, but changes no result; kept out of the fingerprint."""

    @field_validator("deadline", mode="before")
    @classmethod
    def _when(cls, value: Any) -> Any:
        if value is None:
            return None
        text = value.isoformat() if isinstance(value, datetime) else str(value)
        if _parse_deadline(text, datetime.now(UTC)) is None:
            raise ValueError(
                f"{text!r} is neither a length of time such as 8h or 1h30m nor a time with its zone such as "
                "2026-12-01T06:00:00+01:00"
            )
        return text

    def seconds_left(self, now: datetime) -> float | None:
        """Seconds until the deadline of a run that starts at `now`; None without a deadline."""
        return None if self.deadline is None else _parse_deadline(self.deadline, now)


def _parse_deadline(text: str, now: datetime) -> float | None:
    """Seconds from `now` to what a deadline names; None when it names nothing."""
    length = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if length and text:
        hours, minutes, seconds = (int(part or 0) for part in length.groups())
        return 3600.0 * hours + 60 * minutes + seconds
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else (at - now).total_seconds()


class WorkersConfig(Strict):
    """The actor pool."""

    min: int = Field(default=1, ge=1)
    """Workers that the pool begins with."""
    max: int | None = Field(default=None, ge=1)
    """Workers that it may grow to, once one has opened the job and as far as there are shards for them; None
    means `min`."""
    cpus: float = Field(default=1, ge=0)
    """CPUs that Ray reserves for each worker."""
    gpus: float = Field(default=0, ge=0)
    """GPUs that Ray reserves for each worker and makes visible to it alone."""
    records_in_flight: int | None = Field(default=None, ge=1, le=4096)
    """Records a worker runs at once. Unless it is set: twice as many requests as the calls of its models take
    together, at least 16 and at most 64, so that the next calls fill while others are in progress."""
    runtime_env: dict[str, Any] = {}
    """Ray's runtime environment of the workers alone: `{pip: [git+https://…]}` installs what an editor needs
    beside the cluster's own packages, `{env_vars: {…}}` sets variables. Needs the ray backend."""
    shard_size: int = Field(default=32, ge=1, le=4096)
    """Most records in one shard, which is one result file. Shards shrink towards the end of the plan."""

    @model_validator(mode="after")
    def _range(self) -> WorkersConfig:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min}): raise max or lower min")
        if secrets := find_secrets(self.runtime_env):
            raise ValueError(
                f"runtime_env: {', '.join(secrets)} would be written to run.json; keep secrets on the "
                "cluster's nodes instead"
            )
        return self

    @property
    def most(self) -> int:
        return self.max or self.min


class StorageConfig(Strict):
    """How object stores are reached. Keys come from the environment, a profile or the cloud identity."""

    endpoint_url: Expanded | None = None
    """Endpoint of an S3-compatible store; None uses AWS_ENDPOINT_URL, that of a profile, or AWS itself."""
    region: str | None = None
    """Region; None uses AWS_REGION, AWS_DEFAULT_REGION or that of a profile."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """Longest a request may take."""
    retry_seconds: float = Field(default=60.0, ge=0)
    """How long transient faults (503, time-outs, resets) are retried, with back-off and jitter."""

    @field_validator("endpoint_url")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"^https?://[^@]+$", value):
            raise ValueError(
                "must be http(s)://host[:port] without a user name or password; credentials belong "
                "into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return value


class SelectConfig(Strict):
    """Which records of the catalogue a run is about. Of each the row counts that its newest plan made or
    found."""

    where: str = "status != 'ok'"
    """A condition in SQL over the catalogue's columns: `error_kind = 'editor_failed' and cost < 1`, say."""
    decisions: Location | None = None
    """A file of people's decisions, JSON lines of `record_id`, `result_digest` and `decision` (approve or
    reject), or the directory of a run beside which `decide` has kept such files: of what `where` names only
    those whose result was rejected, and is still there. None asks nobody."""
    again: bool = False
    """Run them also where nothing has changed."""
    sample: int | None = Field(default=None, ge=1, le=1_000_000)
    """Only so many of them: a sample that has of each manifest, status and kind of failure its share. None
    takes all."""


class JobConfig(Strict):
    """What every job's config has. One object of a job's class is all that a run of it depends on."""

    job: str
    """Which job it is."""
    output: RunOutput
    """Where results go."""
    select: SelectConfig | None = Field(default=None, exclude_if=lambda select: select is None)
    """Which records of the catalogue to run. None runs all that are new, changed, or not done."""
    first: int | None = Field(default=None, ge=1, exclude_if=lambda first: first is None)
    """Look at the first so many rows of what the job reads, in its order, and at no more of it: for a quick
    try. Of the records beyond nothing is said, and none counts as gone. None takes all."""
    run_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]|\{date\}){0,127}$",
        json_schema_extra={"form": "at most 128 letters, digits, dots, - and _, the first a letter or digit"},
    )
    """Name of the run's directory. None derives it from the settings and the manifest's state, so that
    the same command continues the same run and a changed manifest starts a new one. `{date}` in it stands for
    the day on which the command is given, in UTC: `night-{date}`."""
    limits: RunLimits = RunLimits()
    """What bounds the whole run."""
    workers: WorkersConfig = WorkersConfig()
    """The actor pool."""
    prices: PricesConfig = PricesConfig()
    """What the machine costs."""
    backend: Literal["ray", "inline"] = "ray"
    """ray: an actor pool; inline: the same worker in this process, without Ray, for debugging."""
    storage: StorageConfig = StorageConfig()
    """How object stores are reached."""

    @field_validator("run_id")
    @classmethod
    def _is_a_runs(cls, value: str | None) -> str | None:
        if value == "catalogue":
            raise ValueError("'catalogue' is the folder of what all runs have made together; choose another")
        return value

    @property
    def charges(self) -> bool:
        """Whether calls of any of its models cost money, beside the machines'."""
        return False

    @property
    def copies(self) -> int:
        """How many rows of the results each record has."""
        return 1

    @property
    def enters_catalogue(self) -> bool:
        """Whether its results stand for their records in the catalogue, in which each has one."""
        return True

    @model_validator(mode="after")
    def _needs_ray(self) -> Self:
        if self.workers.runtime_env and self.backend == "inline":
            raise ValueError("workers.runtime_env needs backend: ray; the inline worker runs in this process")
        check_max_cost(self.limits.max_cost, self.workers.gpus, self.prices, self.charges)
        return self
