"""A turn of the flywheel from its start to its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from mira_batch.config.base import is_remote
from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.config.models.local import QwenVLConfig
from mira_batch.core.errors import ConfigError, RunConflict, StoreError
from mira_batch.core.stop_request import StopRequest
from mira_batch.runtime.lease import lease
from mira_batch.storage.promotions import (
    Promotion,
    check_adapter,
    check_base,
    list_numbers,
    put_promotion,
    read_promotion,
)
from mira_batch.storage.run.layout import DamagedFile
from mira_batch.storage.stores import Store, check_create_only, open_store
from mira_batch.train.flywheel.checks import parse_own_gate
from mira_batch.train.flywheel.record import (
    BEGUN,
    CURRENT,
    DATA,
    NOTES,
    RESULT,
    TRAINED,
    Turn,
    begin_turn,
    find_open,
    list_turns,
)
from mira_batch.train.flywheel.stages import (
    Course,
    gather_samples,
    hold_together,
    read_manifest_content,
    teach,
    try_candidate,
    try_current,
)
from mira_batch.train.record import give_way

T = TypeVar("T")

PROMOTED, KEPT, NOTHING_NEW, TOO_FEW, ABANDONED = (
    "promoted", "not promoted", "nothing new", "too few samples", "abandoned",
)  # fmt: skip
"""How a turn may end."""


def turn(
    config: FlywheelConfig, note: Callable[[str], None], stop: StopRequest | None = None
) -> dict[str, Any]:
    """Make a turn, going on with the one that an earlier call has begun and not ended.

    Args:
        config: of the flywheel.
        note: told how it goes, for people.
        stop: by this a signal handler can end it in order.

    Returns:
        Its `result.json`: `outcome`, `why`, and the number of its promotion.

    Raises:
        RunConflict: another flywheel is at work here, or the open turn is of other settings.
        UserError: as of the jobs; or the current promotion is damaged, or of another model.
        RunStopped: `stop` was asked. The same call goes on.
    """
    for text in config.gate:
        parse_own_gate(text)
    store, place = (open_store(uri, config.storage) for uri in (config.output.uri, config.place))
    for each in (store, place):
        check_create_only(each)
    with lease(store, give_way, note):
        open_turn = find_open(store)
        if (
            open_turn is not None
            and not open_turn.made_anything
            and open_turn.list_changes(config.settings())
        ):
            note(f"turn {open_turn.number} has made nothing yet, and settings are others: it is ended")
            close_turn(open_turn, ABANDONED, "settings were changed before anything was made")
            open_turn = None
        current = None if open_turn is not None else _find_current(config, place)
        begun = begin_turn(store, config.settings(), current or {}, open_turn)
        note(f"turn {begun.number}" + ("" if open_turn is None else ", which goes on"))
        return _go_on(Course(config, begun, stop or StopRequest(), note), place)


def _find_current(config: FlywheelConfig, place: Store) -> dict[str, Any]:
    """The current policy; of a place where nothing is promoted yet the base model."""
    if (promotion := read_promotion(place)) is None:
        return {"promotion": 0, "adapter": None}
    assert isinstance(config.edit.policy, QwenVLConfig)
    check_base(promotion, config.edit.policy.weights, config.edit.policy.prompt, config.storage)
    check_adapter(promotion, config.storage)
    return {"promotion": promotion.number, "adapter": promotion.adapter}


def _go_on(course: Course, place: Store) -> dict[str, Any]:
    config, own = course.config, course.turn
    current = (own.read(BEGUN) or {})["current"]
    data = gather_samples(course)
    if data["train"] < config.min_samples:
        why = f"{data['train']:,} samples to train on, and min_samples is {config.min_samples:,}"
        if left := [f"{kind} {count:,}" for kind, count in sorted(data.get("dropped", {}).items()) if count]:
            why += f"; results that are in no sample: {', '.join(left)}"
        return close_turn(own, TOO_FEW, why)
    if (earlier := _find_alike(course, data, current)) is not None:
        return close_turn(own, NOTHING_NEW, f"the samples and settings are those of turn {earlier}")
    try_current(course, current["adapter"], data["uri"])
    trained = teach(course)
    try_candidate(course, trained["adapter"])
    found = hold_together(course)
    for check in found["checks"]:
        course.note(check["why"])
    if not found["passed"]:
        failed = "; ".join(check["why"] for check in found["checks"] if not check["passed"])
        return close_turn(own, KEPT, failed)
    try:
        promotion = _promote(course, place, current, trained, found)
    except RunConflict as error:
        return close_turn(own, KEPT, str(error))
    return close_turn(own, PROMOTED, found["verdict"], promotion.number)


def _promote(
    course: Course,
    place: Store,
    current: Mapping[str, Any],
    trained: Mapping[str, Any],
    found: Mapping[str, Any],
) -> Promotion:
    """Promote the candidate, unless an earlier call of this turn did."""
    own, notes = course.turn, {name: course.turn.read(name) or {} for name in NOTES}
    later = [each for each in list_numbers(place) if each > current["promotion"]]
    for number in later:
        try:
            there = read_promotion(place, number)
        except StoreError:
            if number == later[-1]:
                raise
            continue  # another has been made current instead, so this turn promotes nothing in any case
        if there is not None and there.turn == own.uri and there.again_of is None:
            return there
    tried = {
        name: {key: notes[name][key] for key in ("run", "evaluation")} for name in ("current", "candidate")
    }
    overall = next((line for line in found["figures"]["scores"] if line["name"] == "overall"), None)
    evidence = {
        "data": {name: notes[DATA][name] for name in ("uri", "snapshot", "samples")},
        **tried,
        "comparison": {"verdict": found["verdict"], "overall": overall, "checks": found["checks"]},
        "instead_of": current["promotion"],
    }
    promotion = Promotion(
        adapter=trained["adapter"],
        digest=trained["digest"],
        base=trained["base"],
        base_identity=trained["base_identity"],
        prompt=trained["prompt"],
        why=f"turn {own.number}: {found['verdict']}",
        training=trained["training"],
        turn=own.uri,
        evidence=evidence,
    )
    return put_promotion(place, promotion, after=current["promotion"])


def close_turn(own: Turn, outcome: str, why: str, promotion: int | None = None) -> dict[str, Any]:
    """Note how a turn ended.

    Args:
        own: the turn.
        outcome: one of those above.
        why: in words.
        promotion: its number, of one that promoted.
    """
    result = {"turn": own.number, "outcome": outcome, "promotion": promotion, "why": why}
    return own.note(RESULT, result | {"ended": datetime.now(UTC).isoformat()})


def _find_alike(course: Course, data: Mapping[str, Any], current: Mapping[str, Any]) -> int | None:
    """The last turn that had a candidate, where it was made of the same samples by the same settings, tried
    on the same held-out records, and compared with what is current now, or made that current: another would
    end as it did. So what people have rolled back does not come again by itself."""
    settings = (course.turn.read(BEGUN) or {})["settings"]
    for earlier in reversed(list_turns(course.turn.store)):
        result = earlier.read(RESULT) or {}
        if result.get("outcome") not in (PROMOTED, KEPT):
            continue
        begun, tried = earlier.read(BEGUN) or {}, earlier.read(CURRENT) or {}
        if begun["settings"] != settings or (earlier.read(DATA) or {}).get("snapshot") != data["snapshot"]:
            return None
        if tried.get("manifest") != read_manifest_content(course.config):
            return None
        known = [begun["current"]["adapter"]]
        known += [(earlier.read(TRAINED) or {}).get("adapter")] if result["outcome"] == PROMOTED else []
        return earlier.number if current["adapter"] in known else None
    return None


def abandon(config: FlywheelConfig, why: str) -> dict[str, Any]:
    """End the open turn without a promotion; the next call begins another.

    Args:
        config: of the flywheel.
        why: in words, for people.

    Raises:
        ConfigError: there is no such output.
        RunConflict: no turn is open, or a flywheel is at work on it.
    """
    store = _open_output(config)
    with lease(store, give_way, lambda _: None):
        if (open_turn := find_open(store)) is None:
            raise RunConflict(f"{store.uri}: no turn is open, so there is none to end")
        return close_turn(open_turn, ABANDONED, why)


def look(config: FlywheelConfig) -> dict[str, Any]:
    """How all turns stand, and which promotion is current; nothing is written. What is damaged is None, and
    named in `problems`, but for turns that were abandoned.

    Args:
        config: of the flywheel.

    Raises:
        ConfigError: there is no such output.
        StoreError: the store can't be used.
    """
    store = _open_output(config)
    turns: list[dict[str, Any]] = []
    for own in list_turns(store):
        damaged: dict[str, str] = {}
        notes = {name: _look_at(partial(own.read, name), name, damaged) for name in NOTES}
        done = [name for name in NOTES if notes[name] is not None]
        turns.append({"number": own.number, "uri": own.uri, "done": done, "damaged": damaged, **notes})
    promoted: dict[str, str] = {}
    there = is_remote(config.place) or os.path.exists(config.place)
    place = open_store(config.place, config.storage, make=False) if there else None
    current = None if place is None else _look_at(partial(read_promotion, place), "current", promoted)
    return {
        "turns": turns,
        "place": config.place,
        "current": None if current is None else asdict(current),
        "current_damaged": bool(promoted),
        "problems": [text for each in turns if not _is_given_up(each) for text in each["damaged"].values()]
        + [*promoted.values()],
    }


def _is_given_up(turn: Mapping[str, Any]) -> bool:
    """Whether it was ended by hand, as one whose notes are damaged may be: then nothing is left to do."""
    return turn[RESULT] is not None and turn[RESULT]["outcome"] == ABANDONED


def _look_at(read: Callable[[], T | None], name: str, damaged: dict[str, str]) -> T | None:
    """What is noted, where it can be read; else what is wrong with it is put among the `damaged` ones."""
    try:
        return read()
    except DamagedFile as error:
        damaged[name] = str(error)
        return None


def _open_output(config: FlywheelConfig) -> Store:
    uri = config.output.uri
    if not is_remote(uri) and not os.path.exists(uri):
        raise ConfigError(f"output.uri: {uri}: there is no such directory, so no turn was begun there")
    return open_store(uri, config.storage, make=False)
