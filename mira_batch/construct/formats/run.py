"""An export of samples: read, put into words, written; `export.json` beside the files says what they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from mira_batch.config.shared import StorageConfig
from mira_batch.construct.card import CARD_JSON
from mira_batch.construct.formats import lines, tables
from mira_batch.construct.formats.folder import Folder
from mira_batch.construct.formats.pairs import COLUMNS, find_pairs
from mira_batch.construct.formats.words import Asked, Row, ask, name_state
from mira_batch.construct.scratch import Seen, open_scratch
from mira_batch.construct.stages import ABOUT, create_same, read_marker, read_part
from mira_batch.core.errors import ConfigError, RunConflict
from mira_batch.core.prompt import PromptForm, prompt_version
from mira_batch.core.version import __version__
from mira_batch.storage.run.layout import read_document
from mira_batch.storage.stores import Store, open_store

_TABLES: dict[str, pa.Schema] = {
    "trl-sft": tables.TRL_SFT,
    "trl-grpo": tables.TRL_GRPO,
    "trl-dpo": tables.TRL_DPO,
    "verl": tables.VERL,
    "steps": tables.STEPS,
}
_LINES = {
    "llamafactory": "{split}.jsonl",
    "ms-swift": "{split}.jsonl",
    "verl-omni": "{split}.jsonl",
    "edit-r1": "{split}_metadata.jsonl",
}
_WORDLESS = ("verl-omni", "edit-r1")
"""Formats that hold no prompt."""
_SCORED = ("trl-dpo", "steps")
"""Formats that rest on scores."""
_BEST_SCORES_SINCE = 2
"""The version of construct that gives a sample the best score of all trajectories that contain it."""
FORMATS = (*_TABLES, *_LINES)
EXPORT = "export.json"
_PART_ROWS, _PART_BYTES = 2_000, 128_000_000
MARGIN = 0.05
Told = Callable[[int, int], None]


def export_samples(
    samples: str,
    destination: str,
    form: str,
    storage: StorageConfig,
    prompt: PromptForm = "full",
    margin: float = MARGIN,
    told: Told = lambda done, total: None,
    look: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Write samples in the format of another trainer, unless the destination has them already.

    Args:
        samples: the output of a construct, or its folder `samples`.
        destination: a directory of its own.
        form: one of `FORMATS`.
        storage: how both are reached.
        prompt: how much the policy is told; of formats with a prompt.
        margin: trl-dpo: by how much more the better of two trajectories must have scored.
        told: how many samples are read, and of how many.
        look: called for each file; what it raises ends the export.

    Returns:
        What `export.json` says: counts, files, the prompt's version, snapshot and licences of the samples,
        and a warning where an earlier release's scores may be wrong.

    Raises:
        ConfigError: there are no samples, or none that the format can be made of; it says why.
        RunConflict: the destination holds another export.
        StoreError: a store can't be used, or a file is damaged.
    """
    source = open_store(samples.rstrip("/").removesuffix("/samples"), storage, make=False)
    marker = read_marker(source, "samples")
    if marker is None:
        raise ConfigError(
            f"{samples}: holds no samples that are whole; give the output of `mira-batch construct`"
        )
    if form in _WORDLESS and prompt != "full":
        raise ConfigError(f"--prompt: {form} holds no prompt; leave it out")
    card = read_document(source, CARD_JSON) or {}
    about = {
        "mira_batch": __version__,
        "format": form,
        "samples": source.uri,
        "snapshot": marker["digest"],
        "prompt_version": None if form in _WORDLESS else prompt_version(prompt),
        "margin": margin if form == "trl-dpo" else None,
        "licences": card.get("licences"),
        "warning": _warn_of_scores(form, source, marker),
    }
    target = open_store(destination, storage)
    if (standing := read_document(target, EXPORT)) is not None:
        same = ("format", "snapshot", "prompt_version", "margin")  # wherever the samples lie now
        if any(standing.get(name) != about[name] for name in same):
            raise RunConflict(f"{target.uri}: holds another export; choose another directory for this one")
        return standing
    folder = Folder(target, _TABLES.get(form), _PART_ROWS, _PART_BYTES, _LINES.get(form, ""))
    reader = _Reader(source, marker["files"], told, look)
    counts = _write(form, reader, folder, prompt, margin, marker["digest"])
    folder.close()
    if not folder.rows:
        _explain_none(form, source, counts)
    if form == "llamafactory":
        names = {f"mira_{name.removesuffix('.jsonl')}": name for name in folder.files}
        folder.put("dataset_info.json", lines.describe_datasets(names))
    about |= {"rows": dict(folder.rows), "counts": dict(sorted(counts.items())), "files": folder.files}
    create_same(target, EXPORT, json.dumps(about, indent=2, ensure_ascii=False).encode())
    return about


def _warn_of_scores(form: str, source: Store, marker: Mapping[str, Any]) -> str | None:
    """What is wrong with the scores of samples that an earlier release made, where the format rests on them:
    which of its trajectories a sample has the score of was left to the order of the files."""
    settings = (read_document(source, ABOUT) or {}).get("settings", {})
    scored = any(each.get("scores", "none") != "none" for each in settings.get("sources", []))
    is_early = settings.get("version", 1) < _BEST_SCORES_SINCE
    if form not in _SCORED or not is_early or not scored or not marker["counts"].get("dropped.duplicate"):
        return None
    return (
        f"{source.uri}: was made by an earlier release, which gave equal samples the score of whichever "
        "trajectory came first, not of the best; construct anew, at another output.uri, for right ones"
    )


class _Reader:
    """Reads samples file by file."""

    def __init__(self, store: Store, files: list[str], told: Told, look: Callable[[], None]) -> None:
        self._store, self._files, self._told, self._look = store, files, told, look

    def read(self, columns: tuple[str, ...] | None = None) -> Iterator[Row]:
        for number, file in enumerate(self._files):
            self._look()
            self._told(number, len(self._files))
            for batch in read_part(self._store, file, columns).to_batches(max_chunksize=64):
                yield from batch.to_pylist()


def _write(
    form: str, reader: _Reader, folder: Folder, prompt: PromptForm, margin: float, snapshot: str
) -> Counter[str]:
    """Write the rows of a format; what became of the samples."""
    match form:
        case "trl-grpo":
            return _write_states(reader, folder, prompt)
        case "trl-dpo":
            return _write_pairs(reader, folder, prompt, margin)
        case "verl-omni":
            return _write_trajectories(reader, folder, snapshot)
        case _:
            return _write_each(form, reader, folder, prompt)


def _write_each(form: str, reader: _Reader, folder: Folder, prompt: PromptForm) -> Counter[str]:
    counts: Counter[str] = Counter()
    for index, row in enumerate(reader.read()):
        counts["samples"] += 1
        asked = ask(row, prompt)
        made = _make(form, row, asked, index, folder, prompt)
        if made is None:
            counts["dropped.stop"] += 1
            continue
        counts["rows"] += 1
        folder.add(row["split"], made, sum(map(len, asked.images)) if form in _TABLES else 0)
    return counts


def _make(
    form: str, row: Row, asked: Asked, index: int, folder: Folder, prompt: PromptForm
) -> dict[str, Any] | None:
    match form:
        case "trl-sft":
            return tables.make_sft(row, asked)
        case "verl":
            return tables.make_verl(row, asked, index)
        case "steps":
            return tables.make_step(row, asked, prompt_version(prompt))
        case "edit-r1":
            if row["edit"] is None:
                return None
            return lines.make_edit(row, folder.add_image(asked.images[-1])[0])
        case _:
            images = [folder.add_image(data)[0] for data in asked.images]
            return lines.make_messages(row, asked, images)


def _write_states(reader: _Reader, folder: Folder, prompt: PromptForm) -> Counter[str]:
    counts: Counter[str] = Counter()
    with open_scratch() as database:
        seen = Seen(database)
        for row in reader.read():
            counts["samples"] += 1
            if not seen.add(name_state(row)):
                counts["dropped.same_state"] += 1
                continue
            asked = ask(row, prompt)
            original, _ = folder.add_image(row["original"]["bytes"])
            counts["rows"] += 1
            folder.add(row["split"], tables.make_grpo(row, asked, original), sum(map(len, asked.images)))
    return counts


def _write_pairs(reader: _Reader, folder: Folder, prompt: PromptForm, margin: float) -> Counter[str]:
    counts: Counter[str] = Counter()
    with open_scratch() as database:
        if not find_pairs(reader.read(COLUMNS), margin, database):
            return counts
        for row in reader.read():
            counts["samples"] += 1
            found = database.execute(
                "SELECT rejected FROM pairs WHERE name = ?", (row["sample_id"],)
            ).fetchone()
            if found is None:
                counts["dropped.no_pair"] += 1
                continue
            asked = ask(row, prompt)
            counts["rows"] += 1
            folder.add(row["split"], tables.make_dpo(row, asked, found[0]), sum(map(len, asked.images)))
    return counts


def _write_trajectories(reader: _Reader, folder: Folder, snapshot: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for steps in lines.gather_trajectories(reader.read()):
        counts["trajectories"] += 1
        images = []
        for row in steps:
            uri, digest = folder.add_image((row["current"] or row["original"])["bytes"])
            images.append({"uri": uri, "sha256": digest})
        made = lines.make_reflection(steps, images, snapshot)
        if isinstance(made, str):
            counts[f"dropped.{made}"] += 1
            continue
        counts["rows"] += 1
        folder.add(steps[0]["split"], made)
    return counts


def _explain_none(form: str, source: Store, counts: Counter[str]) -> None:
    if form == "trl-dpo":
        raise ConfigError(
            f"{source.uri}: no state has two answers of unequal score, so there are no pairs; construct from "
            "runs with several rollouts of a record, with `scores`, without select.threshold and select.keep"
        )
    gone = {name.split(".", 1)[1]: n for name, n in counts.items() if name.startswith("dropped.")}
    why = ", ".join(f"{name} {n:,}" for name, n in gone.items())
    raise ConfigError(f"{source.uri}: nothing of it can be had as {form}: {why or 'there are no samples'}")
