"""The data card: what the samples are, what was dropped and why, where all of it is from, and under what
licences."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from mira_batch.config.construct import ConstructConfig, RunsConfig
from mira_batch.construct.cut import read_cells
from mira_batch.construct.stages import create_same
from mira_batch.core.errors import JobError, MiraError
from mira_batch.core.prompt import PROMPT_VERSION
from mira_batch.core.version import __version__
from mira_batch.storage.run.layout import MODELS, RUN, read_document
from mira_batch.storage.stores import Store, open_store

CARD, CARD_JSON = "card.md", "card.json"
UNKNOWN = "unknown"
_STRICT = (
    (r"^$|unknown|custom|other|propriet", 5),
    (r"\bnd\b", 4),
    (r"\bnc\b|non-?commercial|research", 3),
    (r"\bsa\b|gpl|sharealike", 2),
    (r"\bby\b|apache|mit|bsd", 1),
    (r"cc0|public.?domain|unlicense|pddl", 0),
)
"""What a licence asks for, the strictest first. Of one that names none of these nobody knows here."""


def rank_licence(licence: str) -> int:
    """How strict a licence is, by its name: 5 nobody knows, 4 no derivatives, 3 no commerce, 2 share alike,
    1 attribution, 0 nothing. A help for reading the card, no legal advice.

    Args:
        licence: as sources name it; empty where nobody said.
    """
    text = licence.casefold().replace("_", "-").replace("-", " ").strip()
    return next((rank for pattern, rank in _STRICT if re.search(pattern, text)), 5)


def write_card(
    store: Store, config: ConstructConfig, about: Mapping[str, Any], markers: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Write `card.json` and `card.md`, unless they are there.

    Args:
        store: the output.
        config: the job's.
        about: its `construct.json`.
        markers: of all stages before.

    Returns:
        The contents of `card.json`.

    Raises:
        JobError: the counts of a stage don't add up, which is an error of this package.
        RunConflict: there is a card of other contents.
    """
    counts = {stage: dict(marker["counts"]) for stage, marker in markers.items()}
    check_sums(counts)
    card = make_card(config, about, markers, counts)
    create_same(store, CARD_JSON, json.dumps(card, indent=2, ensure_ascii=False).encode())
    create_same(store, CARD, "\n".join(_write(card)).encode())
    return card


def make_card(
    config: ConstructConfig,
    about: Mapping[str, Any],
    markers: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """What the card says, as JSON data; arguments as of `write_card`, and the counts by stage."""
    cells = read_cells(dict(counts["samples"]))
    by: dict[str, Counter[str]] = {name: Counter() for name in ("split", "kind", "origin", "dataset")}
    licences: dict[str, Counter[str]] = {}
    for values, count in cells:
        for name, counter in by.items():
            counter[values[name]] += count
        licences.setdefault(values["licence"], Counter())[values["dataset"]] += count
    ranked = sorted(licences, key=lambda licence: (-rank_licence(licence), licence))
    return {
        "mira_batch": about.get("mira_batch", __version__),
        "snapshot": markers["samples"]["digest"],
        "samples": sum(count for _, count in cells),
        "counts": {name: dict(sorted(counter.items())) for name, counter in by.items()},
        "licences": [
            {
                "licence": licence or UNKNOWN,
                "strictness": rank_licence(licence),
                "samples": sum(licences[licence].values()),
                "datasets": sorted(licences[licence]),
            }
            for licence in ranked
        ],
        "stages": {stage: _sum_stage(found) for stage, found in counts.items()},
        "sources": [_describe_source(source, config) for source in config.sources],
        "prompt": "none: samples hold instruction, images, history and answer, and no words of a prompt",
        "prompt_version_then": PROMPT_VERSION,
        "settings": about["settings"],
    }


def check_sums(counts: Mapping[str, Mapping[str, int]]) -> None:
    """See that nothing went missing between stages.

    Raises:
        JobError: something did.
    """
    for stage, whole, parts in (
        ("sessions", "found", ("sessions", "dropped.")),
        ("merge", "merged", ("instructions", "dropped.")),
        ("paraphrase", "asked", ("instructions", "dropped.")),
        ("select", "trajectories", ("chosen", "to_relabel", "dropped.")),
        ("samples", "questions", ("samples", "dropped.")),
        ("samples", "trajectories", ("demonstrations", "lost.")),
        ("samples", "instructions", ("session_demonstrations", "left.")),
    ):
        found = counts.get(stage, {})
        total = sum(
            count
            for name, count in found.items()
            if name in parts or any(part.endswith(".") and name.startswith(part) for part in parts)
        )
        if found.get(whole, 0) != total:
            raise JobError(
                f"construct: {stage}: {found.get(whole, 0)} {whole}, but {total} are accounted for"
            )
    chosen = sum(counts.get("select", {}).get(name, 0) for name in ("chosen", "to_relabel"))
    if chosen != counts["samples"].get("trajectories", 0):
        raise JobError(f"construct: {chosen} trajectories were selected, and others read")
    worded, listed = counts["paraphrase"].get("instructions", 0), counts["candidates"].get("candidates", 0)
    if worded != listed:
        raise JobError(f"construct: {worded} instructions were worded, and {listed} listed")


def _sum_stage(found: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in found.items() if not name.startswith("sample|")}


def _describe_source(source: Any, config: ConstructConfig) -> dict[str, Any]:
    """A source as the config has it; of a run also which models made it."""
    said = source.model_dump(mode="json", exclude_none=True)
    if not isinstance(source, RunsConfig):
        return said
    for name, uri in (("run", source.uri), ("evaluation", source.scores)):
        if uri in ("none", "run"):
            continue
        try:
            where = open_store(uri, config.storage, make=False)
            about = read_document(where, RUN)
            models = read_document(where, MODELS) if about else None
        except MiraError:
            continue
        if about:
            said[f"{name}_id"], said[f"{name}_fingerprint"] = about.get("run_id"), about.get("fingerprint")
            said[f"{name}_models"] = dict(models or {})
    return said


def _write(card: Mapping[str, Any]) -> Iterator[str]:
    counts = card["counts"]
    yield "# Data card\n"
    yield f"{card['samples']:,} samples for policies of image editing, snapshot `{card['snapshot']}`, made by"
    yield f"mira_batch {card['mira_batch']}. `card.json` says the same to programs.\n"
    yield "## Licences of the sources, the strictest first\n"
    yield from _table(
        ("licence", "samples", "data sets"),
        [(x["licence"], f"{x['samples']:,}", ", ".join(x["datasets"])) for x in card["licences"]],
    )
    yield "Ranked by name alone; what they allow is for you to read.\n"
    for title, name in (("Split", "split"), ("Kind", "kind"), ("Origin", "origin"), ("Data set", "dataset")):
        yield f"## {title}\n"
        yield from _table((name, "samples"), [(key, f"{n:,}") for key, n in counts[name].items()])
    yield "All samples of a source image, told by the digest of its pixels, are in the same split.\n"
    for stage, found in card["stages"].items():
        yield f"## Stage: {stage}\n"
        yield from _table(("what", "count"), [(key, f"{n:,}") for key, n in found.items()])
    yield "## Sources\n"
    for source in card["sources"]:
        yield f"```json\n{json.dumps(source, indent=2, ensure_ascii=False)}\n```\n"
    yield "## Prompt\n"
    yield "Samples hold no words of a prompt: a trainer or an export puts them into words, and names the"
    yield f"version of the prompt. When they were made it was `{card['prompt_version_then']}`.\n"
    yield "## Settings\n"
    yield f"```json\n{json.dumps(card['settings'], indent=2, ensure_ascii=False)}\n```"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") or " " for cell in row) + " |"
    yield ""
