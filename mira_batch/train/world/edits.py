"""Atomic edits of the synthetic world: as data, as the sentences that a policy says, and what they do to a
scene.

An edit that can't be carried out changes nothing: it names what is not there, would put an object where one
stands or beyond the edge, or would make two that look alike. So every scene that edits lead to can be named,
too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mira_batch.train.world.scenes import COLOURS, SHAPES, SIDES, Scene, Thing


@dataclass(frozen=True, slots=True)
class Recolour:
    """Give an object another colour."""

    thing: Thing
    colour: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Take an object away."""

    thing: Thing


@dataclass(frozen=True, slots=True)
class Add:
    """Put an object beside another."""

    thing: Thing
    side: str
    anchor: Thing


AtomicEdit = Recolour | Remove | Add

COLOUR = "|".join(COLOURS)
THING = f"(?:{COLOUR}) (?:{'|'.join(SHAPES)})"
BESIDE = f"(?P<side>{'|'.join(SIDES)}) the (?P<anchor>{THING})"
_RECOLOUR = re.compile(f"make the (?P<thing>{THING}) (?P<colour>{COLOUR})")
_REMOVE = re.compile(f"remove the (?P<thing>{THING})")
_ADD = re.compile(f"add a (?P<thing>{THING}) {BESIDE}")


def say_edit(edit: AtomicEdit) -> str:
    """The sentence that `parse_edit` reads back."""
    match edit:
        case Recolour(thing, colour):
            return f"make the {thing} {colour}"
        case Remove(thing):
            return f"remove the {thing}"
        case Add(thing, side, anchor):
            return f"add a {thing} {side} the {anchor}"


@lru_cache(maxsize=8_192)
def parse_edit(text: str) -> AtomicEdit | None:
    """The edit that a sentence names; None where it names none of the world."""
    text = text.strip()
    if found := _RECOLOUR.fullmatch(text):
        return Recolour(read_thing(found["thing"]), found["colour"])
    if found := _REMOVE.fullmatch(text):
        return Remove(read_thing(found["thing"]))
    if found := _ADD.fullmatch(text):
        return Add(read_thing(found["thing"]), found["side"], read_thing(found["anchor"]))
    return None


def read_thing(text: str) -> Thing:
    """An object from its colour and its shape."""
    colour, shape = text.split()
    return Thing(colour, shape)


def place_edit(scene: Scene, edit: AtomicEdit) -> tuple[int, Thing | None] | None:
    """The cell that an edit changes, and what stands there then; None where it can't be carried out."""
    if isinstance(edit, Add):
        anchor = scene.find(edit.anchor)
        cell = None if anchor is None else scene.find_beside(anchor, edit.side)
        if cell is None or scene.cells[cell] is not None or edit.thing in scene.cells:
            return None
        return cell, edit.thing
    cell = scene.find(edit.thing)
    if cell is None or isinstance(edit, Remove):
        return None if cell is None else (cell, None)
    now = Thing(edit.colour, edit.thing.shape)
    return None if now in scene.cells else (cell, now)


def apply_edit(scene: Scene, edit: AtomicEdit) -> Scene:
    """The scene after an edit; the same where it can't be carried out."""
    placed = place_edit(scene, edit)
    return scene if placed is None else scene.put(*placed)
