"""Scenes, edits and tasks of the synthetic world, for hypothesis."""

from __future__ import annotations

from functools import lru_cache

from hypothesis import strategies as st

from mira_batch.core.identity import frame_of
from mira_batch.core.types import Frame
from mira_batch.train.world.edits import Add, Recolour, Remove
from mira_batch.train.world.scenes import COLOURS, LARGE, SHAPES, SIDES, SMALL, Scene, Thing, render
from mira_batch.train.world.tasks import Task, generate_tasks

THINGS = [Thing(colour, shape) for colour in COLOURS for shape in SHAPES]
things = st.sampled_from(THINGS)
edits = st.one_of(
    st.builds(Recolour, things, st.sampled_from(COLOURS)),
    st.builds(Remove, things),
    st.builds(Add, things, st.sampled_from([*SIDES]), things),
)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Any scene, empty and full ones too."""
    size = draw(st.integers(2, 5))
    cells = draw(st.lists(st.none() | things, min_size=size**2, max_size=size**2))
    return Scene(
        size, tuple(thing if thing not in cells[:cell] else None for cell, thing in enumerate(cells))
    )


@lru_cache(maxsize=1)
def some_tasks() -> tuple[Task, ...]:
    """Tasks of both worlds."""
    return (*generate_tasks("val", 150, world=SMALL), *generate_tasks("val", 150, world=LARGE))


tasks = st.integers(0, 299).map(lambda place: some_tasks()[place])


def frame(scene: Scene) -> Frame:
    return frame_of(render(scene))
