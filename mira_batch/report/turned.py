"""Turns of the flywheel, promotions and what a model was made from, for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_STAGES = {
    "turn": "samples are to be made",
    "data": "the current policy is to be tried",
    "current": "the candidate is to be trained",
    "trained": "the candidate is to be tried",
    "candidate": "both are to be compared",
    "comparison": "it is to be promoted, if it passed",
}
"""What comes next after what is noted."""
_MOST_LISTED = 20


def describe_turn(result: Mapping[str, Any], place: str) -> Iterator[str]:
    """How a turn ended.

    Args:
        result: its `result.json`.
        place: of promotions.
    """
    yield f"turn {result['turn']}: {result['outcome']}: {result['why']}"
    if result["promotion"] is not None:
        yield f"promotion {result['promotion']} in {place}"


def describe_turns(found: Mapping[str, Any]) -> Iterator[str]:
    """How all turns stand, the newest last, and what is current.

    Args:
        found: of `train.flywheel.run.look`.
    """
    for own in found["turns"]:
        result, damaged = own["result"], own["damaged"]
        if result is not None:
            yield f"turn {own['number']}: {result['outcome']}: {result['why']}"
        elif "result" in damaged:
            yield f"turn {own['number']}: has ended, and how can't be read"
        else:
            last = max((*own["done"], *damaged), key=[*_STAGES].index)
            yield f"turn {own['number']}: open; {_STAGES[last]}"
        yield from (f"  {name}.json is damaged" for name in damaged)
        if (data := own["data"]) is not None:
            counts = f"{data['train']:,} to train on, {data['val']:,} to validate"
            yield f"  samples: {counts}, snapshot {data['snapshot']}"
        for name in ("current", "candidate"):
            if (tried := own[name]) is not None:
                counts = ", ".join(f"{word} {tried[word]:,}" for word in ("ok", "unfinished", "failed"))
                yield f"  {name}: {counts}; scores {tried['evaluation']}"
        yield from (f"  {check['why']}" for check in (own["comparison"] or {}).get("checks", ()))
    current = found["current"]
    if current is None and found["current_damaged"]:
        yield f"the current promotion in {found['place']} is damaged"
    elif current is None:
        yield f"nothing is promoted yet in {found['place']}: the base model is current"
    else:
        yield f"current: promotion {current['number']} of {current['at']}, {current['adapter']}"


def describe_promotions(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """All promotions, a line each.

    Args:
        found: of `train.flywheel.promote.list_promotions`, the newest first.
    """
    for place, each in enumerate(found):
        mark = "current" if not place else "earlier"
        if "problem" in each:
            yield f"{each['number']} ({mark}): {each['problem']}"
            continue
        again = "" if each["again_of"] is None else f", anew {each['again_of']}"
        yield f"{each['number']} ({mark}{again}): {each['adapter']}"
        yield f"  {each['at']} by {each['by']}: {each['why']}"


def describe_damage(found: Sequence[Mapping[str, Any]], place: str) -> str:
    """What it means that the current promotion is damaged, and what helps.

    Args:
        found: as of `describe_promotions`.
        place: of promotions.
    """
    whole = next((each["number"] for each in found if "problem" not in each), None)
    back = "ADAPTER" if whole is None else f"--to {whole}, or with an ADAPTER"
    return (
        f"promotion {found[0]['number']} can't be read and is current, so runs and turns that take what is "
        f"promoted here are refused. Restore its file, or promote another: mira-batch promote {place} {back}"
    )


def describe_lineage(found: Mapping[str, Any]) -> Iterator[str]:
    """What a model was made from.

    Args:
        found: of `train.flywheel.lineage.trace`.
    """
    if (promotion := found["promotion"]) is not None:
        yield f"promotion {promotion['number']} of {promotion['at']} by {promotion['by']}: {promotion['why']}"
        if promotion["turn"]:
            yield f"turn:     {promotion['turn']}"
    yield f"training: {found['training']} (its card: README.md)"
    yield f"base:     {found['base']}"
    data, records = found["data"], found["records"]
    if records is None:
        yield f"rollouts on the records of {data['uri']}, in iterations/ of the training"
    else:
        yield f"data:     {data['uri']} (its card: card.md), digest {data['digest']}"
        by_run: Counter[str] = Counter()
        samples: Counter[str] = Counter()
        for row in records:
            run = row["run"] or f"sessions of {row['dataset']}"
            by_run[run] += 1
            samples[run] += row["samples"]
        yield f"records:  {len(records):,}, of {len(by_run):,} runs"
        for run, count in by_run.most_common(_MOST_LISTED):
            yield f"  {run}: {count:,} records, {samples[run]:,} samples"
        if len(by_run) > _MOST_LISTED:
            yield f"  and {len(by_run) - _MOST_LISTED:,} more; --json has all records"
    if found["began_with"] is not None:
        yield "it goes on from an adapter:"
        yield from (f"  {line}" for line in describe_lineage(found["began_with"]))
