"""Captions of scenes: each object with its four neighbours, in words, and how right such words are.

What a real checkpoint has learned long before it sees an edit is to say what stands where.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from mira_batch.train.world.edits import read_thing
from mira_batch.train.world.scenes import SIDES, Scene, Thing

ASK = "describe"
"""What stands in the place of an instruction."""
NOTHING = "nothing"
_WORDS = {side.removesuffix(" of"): side for side in SIDES}


@dataclass(frozen=True, slots=True)
class CaptionScore:
    """How right captions are."""

    neighbours: float
    """Of the neighbours that they name, four an object, those that are right. Those of an object that isn't
    there are wrong."""
    objects: float
    """Of the objects that are there, those that they name."""


def write_caption(scene: Scene, rng: random.Random) -> str:
    """A scene in words, its objects in an order that is drawn.

    Args:
        scene: what is described.
        rng: draws the order.
    """
    standing = [thing for thing in scene.cells if thing is not None]
    rng.shuffle(standing)
    return ", ".join(_describe(scene, thing) for thing in standing) or NOTHING


def score_captions(captions: list[str], scenes: list[Scene]) -> CaptionScore:
    """How right captions are, over all of them together.

    Args:
        captions: texts of any form.
        scenes: what each describes.
    """
    right = named = found = standing = 0
    for caption, scene in zip(captions, scenes, strict=True):
        things = {str(thing) for thing in scene.cells if thing}
        parts = dict(_split_part(part) for part in caption.split(", "))
        parts.pop("", None)
        standing += len(things)
        found += len(things & parts.keys())
        named += 4 * len(parts)
        right += sum(_count_right(scene, thing, said) for thing, said in parts.items() if thing in things)
    return CaptionScore(right / max(named, 1), found / max(standing, 1))


def _describe(scene: Scene, thing: Thing) -> str:
    return " ".join([str(thing), *(f"{word} {_name(scene, thing, side)}" for word, side in _WORDS.items())])


def _name(scene: Scene, thing: Thing, side: str) -> str:
    """What stands on a side of an object; beyond the edge stands nothing."""
    cell = scene.find_beside(scene.cells.index(thing), side)
    return str((None if cell is None else scene.cells[cell]) or NOTHING)


def _split_part(part: str) -> tuple[str, str]:
    """The object that a part of a caption is about, and the rest of it."""
    words = part.split()
    return " ".join(words[:2]), " ".join(words[2:])


def _count_right(scene: Scene, thing: str, said: str) -> int:
    """How many of the four neighbours are right: each after the word for its side, before the next such
    word."""
    standing = read_thing(thing)
    named: dict[str, list[str]] = {}
    word = ""
    for part in said.split():
        if part in _WORDS:
            word = part
            named.setdefault(word, [])
        elif word:
            named[word].append(part)
    return sum(" ".join(named.get(word, ())) == _name(scene, standing, side) for word, side in _WORDS.items())
