"""The layout of a run's directory, and `run.json`, which alone reruns the run.

<output>/<run_id>/run.json             resolved config, versions, what the manifest was
                  plan/plan.json       the marker: the plan is whole; names its files
                  plan/plan-….parquet  many shards a file, a row group each
                  plan/rejects.parquet manifest rows that can't be used, and why
                  state/<shard>/<work_id>/<k>.arrow   steps of shards not yet committed
                  steps/<work_id>/<k>.<format>        step images kept as references
                  results/part-<shard>.parquet        one per committed shard
                  report.html          a picture of what happened
"""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import version
from typing import Any

from mira_batch import __version__
from mira_batch.config.bulk_edit import BulkEditConfig
from mira_batch.core.errors import RunConflict
from mira_batch.core.identity import content_hash, fingerprint
from mira_batch.storage.manifest import ManifestFile
from mira_batch.storage.objects import Store, open_store

RUN = "run.json"
PLAN = "plan/plan.json"
REJECTS = "plan/rejects.parquet"
REPORT = "report.html"
_PART = re.compile(r"results/part-(\d{5,})\.parquet")


def result_key(shard: int) -> str:
    return f"results/part-{shard:05d}.parquet"


def shard_of(key: str) -> int | None:
    """The shard that a result object commits; None for anything else that lies there."""
    match = _PART.fullmatch(key)
    return int(match[1]) if match else None


def state_prefix(shard: int) -> str:
    return f"state/{shard:05d}"


def run_id_for(config: BulkEditConfig, files: list[ManifestFile]) -> str:
    """The configured run id, or one made from the settings and the manifest's state."""
    if config.run_id:
        return config.run_id
    settings = settings_of(config, files)
    parts = [
        re.sub(r"[^A-Za-z0-9]+", "-", part.split(".")[0]).strip("-")
        for part in settings["input"]["manifest"].split("/")
    ]
    names = [part for part in parts if part and part != "manifest"]
    return f"{names[-1][:40] if names else 'run'}-{fingerprint(settings)[:10]}"


def settings_of(config: BulkEditConfig, files: list[ManifestFile]) -> dict[str, Any]:
    """What a run can't change half-way: everything that decides records, pixels and the rows' form."""
    return {
        "input": config.input.model_dump(mode="json", exclude={"max_bytes", "max_pixels"}),
        "pixels": config.pixels(),
        "step_images": config.output.step_images,
        "manifest_content": content_hash(*(part for file in files for part in (file.path, file.version))),
    }


def open_run(config: BulkEditConfig, files: list[ManifestFile]) -> Store:
    """Open the run's directory, writing `run.json` when it is new.

    Raises:
        RunConflict: the run id is taken by a run of other settings; the message shows the difference.
    """
    run_id = run_id_for(config, files)
    store = open_store(f"{config.output.uri}/{run_id}", config.storage)
    document = {
        "mira_batch": __version__,
        "run_id": run_id,
        "fingerprint": fingerprint(config.pixels()),
        "settings": settings_of(config, files),
        "manifest": [{"path": file.path, "version": file.version} for file in files],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("ray", "pyarrow", "pillow", "obstore", "s3fs", "pydantic")},
        },
        "config": config.model_dump(mode="json") | {"run_id": run_id},
    }
    if not store.create(RUN, json.dumps(document, indent=2).encode()):
        earlier = read_run(store)
        changed = list(_differences(earlier.get("settings", {}), document["settings"]))
        if changed:
            lines = "\n".join(f"  {line}" for line in changed)
            raise RunConflict(
                f"{store.uri}: this run was started with other settings:\n{lines}\n"
                "choose another run_id (or leave it out), or restore the settings"
            )
    return store


def read_run(store: Store) -> dict[str, Any]:
    """`run.json` of a run.

    Raises:
        RunConflict: there is none.
    """
    data = store.get(RUN)
    if data is None:
        raise RunConflict(f"{store.uri}: holds no run (no {RUN}); check output.uri and run_id")
    return json.loads(data)


def _differences(old: Any, new: Any, path: str = "") -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new and path == "manifest_content":
        yield "input.manifest: its files have changed since this run was planned"
    elif old != new:
        yield f"{path}: was {json.dumps(old)}, now {json.dumps(new)}"
