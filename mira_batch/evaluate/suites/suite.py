"""What a benchmark is to the commands: how its data set is read, judged, tabulated and laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mira_batch.config.shared import StorageConfig
from mira_batch.evaluate.suites.evidence import Evidence
from mira_batch.evaluate.suites.items import Item
from mira_batch.evaluate.suites.sheets import Tabulated
from mira_batch.storage.published import Reader


@dataclass(frozen=True, slots=True)
class Request:
    """What `prepare` is asked for."""

    data: Path
    """The data set, as it was downloaded."""
    languages: tuple[str, ...] = ()
    """Of GEdit-Bench: which; empty: all."""
    split: str | None = None
    """Of a Hugging Face data set with several splits: which."""
    images: Path | None = None
    """Where the images are that a JSON file names; None: beside it."""
    after: tuple[str, ...] = ()
    """Of MagicBrush: runs of a turn, from whose results the next one starts; empty: single turns."""
    storage: StorageConfig = StorageConfig()
    """How these runs are reached."""


Labels = list[Mapping[str, Any]]
"""What people said of the items; filled while they are read."""
Read = Callable[[Request, Reader, Labels, list[str]], Iterator[Item]]
"""Reads a data set: given what is asked for, what checks values, and two lists that it fills: labels, and in
words what is left out."""
Tabulate = Callable[[Evidence, Mapping[str, str]], Tabulated]
"""Makes the tables of what was judged; the second argument names the judge's axis of a dimension."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark."""

    name: str
    """As the commands take it."""
    title: str
    """As its owners call it."""
    options: frozenset[str]
    """Options of `prepare` that it knows."""
    read: Read
    count: Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]], dict[str, int]]
    """Counts its rows and labels by what tells them apart."""
    judge: str = ""
    """The config of a judge, as `evaluate` takes it; empty: it needs none."""
    tabulate: Tabulate | None = None
    """None: its table is made of results, without a judge."""
    files: Callable[[Mapping[str, Any], str], Mapping[str, str]] | None = None
    """Where its own script looks for the images of a row, given the name of the model: path by column of the
    manifest, the empty one for the result. None: it looks for none."""
    of_pairs: bool = False
    """Whether its manifest is for `evaluate`: it is a benchmark of judges."""
