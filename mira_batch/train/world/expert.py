"""What comes next in the synthetic world: the right edit, from the original, the current image and the
instruction.

Nothing is hidden from a policy that this rests on: the goal follows from the original and the instruction,
and what is done and what went wrong from the current image. What went wrong is put right first, since an
object that is out of place may bear a name that is needed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from mira_batch.train.world.edits import Add, AtomicEdit, Recolour, Remove, apply_edit, say_edit
from mira_batch.train.world.instructions import Beside, Goal, Grounded, list_clauses
from mira_batch.train.world.scenes import SIDES, Scene, Thing

_MOST_REPAIRS = 3
"""A mistake is made only if so many edits more than before can put it right."""
_TRIES = 8
_ORDINALS = ("first", "second", "third")
"""How a thought names clauses."""


@dataclass(frozen=True, slots=True)
class Next:
    """What a policy should do now."""

    edit: AtomicEdit | None
    """None: stop."""
    thought: str
    """What stands there for each clause, in order, and so whether it is done; then what is wrong, if anything
    is."""
    finished: bool
    """Whether the image is the target."""


def find_next(goal: Goal, current: Scene) -> Next:
    """The next edit, or a stop where all is done, or no edit can bring what is missing.

    Args:
        goal: what is asked for.
        current: the image as it is now.
    """
    stated = [
        _state_clause(ordinal, clause, current)
        for ordinal, clause in zip(_ORDINALS, goal.clauses, strict=False)
    ]
    if current == goal.target:
        return Next(None, ", ".join(stated), True)
    for edit, reason in _list_useful(goal, current):
        return Next(edit, ", ".join([*stated, *reason]), False)
    return Next(None, ", ".join([*stated, "no edit brings what is missing"]), False)


def make_mistake(goal: Goal, current: Scene, rng: random.Random) -> AtomicEdit | None:
    """A wrong edit that later edits can put right; None where none is found in a few tries.

    Args:
        goal: what is asked for.
        current: the image as it is now.
        rng: draws it.
    """
    useful = {say_edit(edit) for edit, _ in _list_useful(goal, current)}
    things = tuple(
        dict.fromkeys(thing for thing in (*goal.original.cells, *goal.target.cells, *current.cells) if thing)
    )
    left = _count_edits(goal, current)
    kinds = list_clauses(current, things)
    for _ in range(_TRIES if kinds else 0):
        edit = rng.choice(kinds[rng.choice([*kinds])])
        if isinstance(edit, Beside) or say_edit(edit) in useful:
            continue
        after = _count_edits(goal, apply_edit(current, edit))
        if left is not None and after is not None and left < after <= left + _MOST_REPAIRS:
            return edit
    return None


def _count_edits(goal: Goal, scene: Scene) -> int | None:
    """How many edits lead to the target; None where they don't."""
    for count in range(2 * len(scene.cells)):
        step = find_next(goal, scene)
        if step.finished:
            return count
        if step.edit is None:
            return None
        scene = apply_edit(scene, step.edit)
    return None


def _list_useful(goal: Goal, current: Scene) -> Iterator[tuple[AtomicEdit, tuple[str, ...]]]:
    """Edits that bring the image nearer to the target, best first, each with what it rests on beside the
    clauses."""
    asked = {clause.cell: clause for clause in goal.clauses}
    open_cells = [cell for cell, thing in enumerate(current.cells) if thing != goal.target.cells[cell]]
    wrong = [
        cell for cell in open_cells if cell not in asked or current.cells[cell] != goal.original.cells[cell]
    ]
    for cell in wrong:
        for edit in _list_repairs(current, cell, goal.target.cells[cell]):
            yield edit, (_describe_wrong(current.cells[cell], goal.target.cells[cell]),)
            break
    for clause in asked.values():
        if clause.cell not in open_cells or clause.cell in wrong:
            continue
        for edit in (clause.edit, *_list_repairs(current, clause.cell, clause.value)):
            if apply_edit(current, edit).cells[clause.cell] == clause.value:
                yield edit, ()
                break
    for cell in open_cells:  # names that block one another: one has to go and come back
        if (thing := current.cells[cell]) is not None:
            yield Remove(thing), (f"{thing} is in the way",)


def _list_repairs(current: Scene, cell: int, wanted: Thing | None) -> Iterator[AtomicEdit]:
    """Edits that bring what is wanted into a cell, or empty it for that."""
    thing = current.cells[cell]
    if thing is not None:
        if wanted is None or wanted.shape != thing.shape:
            yield Remove(thing)
        elif wanted not in current.cells:
            yield Recolour(thing, wanted.colour)
    elif wanted is not None and wanted not in current.cells:
        for side in SIDES:
            for anchor in current.cells:
                if anchor is not None and current.find_beside(_cell_of(current, anchor), side) == cell:
                    yield Add(wanted, side, anchor)


def _cell_of(scene: Scene, thing: Thing) -> int:
    return scene.cells.index(thing)


def _describe_wrong(thing: Thing | None, wanted: Thing | None) -> str:
    if thing is None:
        return f"{wanted} is gone"
    return f"{thing} is wrong" if wanted is None else f"{thing} was {wanted}"


def _state_clause(ordinal: str, clause: Grounded, current: Scene) -> str:
    """What says whether a clause is done, from what it means to what the image shows: each fact is named
    before anything follows from it, since words that come first can't look at those that come later."""
    told = ordinal
    if isinstance(clause.clause, Beside):
        meant = clause.edit.thing
        told += f" {clause.clause.side} the {clause.clause.anchor} is {meant},"
    looked_for = clause.edit.thing if clause.value is None else clause.value
    shown = "there" if looked_for in current.cells else "missing"
    state = "done" if current.cells[clause.cell] == clause.value else "open"
    return f"{told} {looked_for} is {shown}: {state}"
