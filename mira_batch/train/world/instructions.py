"""Instructions of the synthetic world: one to three clauses, each of which names an object by its looks or by
its place beside another, and what they ask for in a given scene.

Every clause speaks of the original image, whatever the others do. An instruction is taken only where the
order of its clauses doesn't matter: no object that one refers to is changed by another, and each object that
comes of one looks different from all that were there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mira_batch.train.world.edits import (
    BESIDE,
    COLOUR,
    Add,
    AtomicEdit,
    Recolour,
    Remove,
    parse_edit,
    place_edit,
    read_thing,
    say_edit,
)
from mira_batch.train.world.scenes import SIDES, Scene, Thing

AND = " and "
"""Joins the clauses of an instruction."""
MOST_CLAUSES = 3
_REMOVE_BESIDE = re.compile(f"remove the object {BESIDE}")
_RECOLOUR_BESIDE = re.compile(f"make the object {BESIDE} (?P<colour>{COLOUR})")


@dataclass(frozen=True, slots=True)
class Beside:
    """A clause about whatever stands beside an object: it is removed, or gets another colour."""

    side: str
    anchor: Thing
    colour: str | None
    """None: it is removed."""


Clause = AtomicEdit | Beside


@dataclass(frozen=True, slots=True)
class Grounded:
    """A clause in a scene."""

    clause: Clause
    edit: AtomicEdit
    """What it comes to."""
    cell: int
    """Which cell it changes."""
    value: Thing | None
    """What stands there then."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What an instruction asks for."""

    original: Scene
    target: Scene
    clauses: tuple[Grounded, ...]


class Unclear(ValueError):
    """An instruction that is none of the world, or can't be carried out here. The message says why."""


def say_clause(clause: Clause) -> str:
    """The words of a clause."""
    match clause:
        case Beside(side, anchor, None):
            return f"remove the object {side} the {anchor}"
        case Beside(side, anchor, colour):
            return f"make the object {side} the {anchor} {colour}"
        case edit:
            return say_edit(edit)


@lru_cache(maxsize=8_192)
def parse_clause(text: str) -> Clause | None:
    """The clause that a text is; None where it is none of the world."""
    if edit := parse_edit(text):
        return edit
    if found := _REMOVE_BESIDE.fullmatch(text):
        return Beside(found["side"], read_thing(found["anchor"]), None)
    if found := _RECOLOUR_BESIDE.fullmatch(text):
        return Beside(found["side"], read_thing(found["anchor"]), found["colour"])
    return None


@lru_cache(maxsize=4_096)
def read_goal(instruction: str, original: Scene) -> Goal:
    """What an instruction asks for in a scene.

    Args:
        instruction: clauses, joined by "and".
        original: the image as it was given.

    Raises:
        Unclear: it is none of the world, or can't be carried out there.
    """
    clauses = []
    for text in instruction.strip().split(AND):
        if (clause := parse_clause(text)) is None:
            raise Unclear(f"{text!r} is no clause of the synthetic world")
        clauses.append(clause)
    return ground(tuple(clauses), original)


def ground(clauses: tuple[Clause, ...], original: Scene) -> Goal:
    """What clauses come to in a scene.

    Raises:
        Unclear: they can't be carried out there, or not in any order.
    """
    if len(clauses) > MOST_CLAUSES:
        raise Unclear(
            f"the instruction has {len(clauses)} clauses, and at most {MOST_CLAUSES} are understood"
        )
    grounded = tuple(_ground_clause(clause, original) for clause in clauses)
    changed = [each.cell for each in grounded]
    if len({*changed}) < len(changed):
        raise Unclear("two clauses change the same place")
    made = [each.value for each in grounded if each.value is not None]
    if len({*made}) < len(made):
        raise Unclear("two clauses make the same object")
    for clause in clauses:
        if isinstance(clause, Add | Beside) and original.find(clause.anchor) in changed:
            raise Unclear(f"the {clause.anchor} is changed by one clause, and named as a landmark by another")
    target = original
    for each in grounded:
        target = target.put(each.cell, each.value)
    return Goal(original, target, grounded)


def _ground_clause(clause: Clause, original: Scene) -> Grounded:
    edit = _resolve(clause, original) if isinstance(clause, Beside) else clause
    placed = place_edit(original, edit)
    if placed is None:
        raise Unclear(f"{say_clause(clause)!r} can't be carried out in this image")
    return Grounded(clause, edit, *placed)


def _resolve(clause: Beside, original: Scene) -> Recolour | Remove:
    """Which object a clause means."""
    anchor = original.find(clause.anchor)
    cell = None if anchor is None else original.find_beside(anchor, clause.side)
    thing = None if cell is None else original.cells[cell]
    if thing is None:
        raise Unclear(f"there is no object {clause.side} the {clause.anchor}")
    return Remove(thing) if clause.colour is None else Recolour(thing, clause.colour)


def list_clauses(scene: Scene, things: tuple[Thing, ...]) -> dict[str, list[Clause]]:
    """All clauses that can be carried out in a scene by themselves, by kind.

    Args:
        scene: the image as it was given.
        things: objects that the world has.
    """
    colours = tuple(dict.fromkeys(thing.colour for thing in things))
    found: dict[str, list[Clause]] = {
        kind: [] for kind in ("recolour", "remove", "add", "recolour beside", "remove beside")
    }
    for cell, thing in enumerate(scene.cells):
        if thing is None:
            continue
        new = [colour for colour in colours if Thing(colour, thing.shape) not in scene.cells]
        found["recolour"] += [Recolour(thing, colour) for colour in new]
        found["remove"].append(Remove(thing))
        for side in SIDES:
            beside = scene.find_beside(cell, side)
            if beside is None:
                continue
            other = scene.cells[beside]
            if other is None:
                found["add"] += [Add(one, side, thing) for one in things if one not in scene.cells]
                continue
            found["remove beside"].append(Beside(side, thing, None))
            new = [colour for colour in colours if Thing(colour, other.shape) not in scene.cells]
            found["recolour beside"] += [Beside(side, thing, colour) for colour in new]
    return {kind: clauses for kind, clauses in found.items() if clauses}
