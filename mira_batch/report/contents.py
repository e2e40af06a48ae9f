"""What the report's page shows, as frozen data.

`cards.py` and `write.py` find it, `render.py` makes HTML of it. Record ids, instructions, thoughts and
messages are untrusted text here, and stay text on the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import geometric_mean
from typing import Any

from mira_batch.core.receipts import RunSummary


@dataclass(frozen=True, slots=True)
class Picture:
    """A thumbnail, ready to be shown."""

    uri: str
    """Data URI."""
    width: int
    height: int
    transparent: bool
    """Whether any of its pixels is."""
    exact: bool = False
    """Whether its pixels are those of the image, not ones made smaller or by a lossy encoding."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of a trajectory: the image before, a step, several steps in words, or the result."""

    label: str
    picture: Picture | str = ""
    """The image; or why there is none, as it goes on after "Image"."""
    caption: str = ""
    """The step's edit."""
    thought: str = ""
    score: float | None = None
    """The judge's."""
    accepted: bool = True
    """False: the step was rolled back."""
    result: bool = False
    """Whether this is the record's result."""
    earlier: bool = False
    """Whether this is the result of an earlier run."""
    first: int = 1
    """Number of the first of `words`."""
    words: tuple[str, ...] = ()
    """Edits of steps that are not pictured."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an evaluation says of a record's result. All text is the judge's, and untrusted."""

    title: str
    """Of the evaluation."""
    state: str
    """judged, judge failed, not judged, or nothing to judge."""
    score: float | None = None
    """In [0, 1]; None of any other state than judged."""
    axes: tuple[tuple[str, float, float, float], ...] = ()
    """Of each axis its name, its value, and the least and greatest that it may have."""
    protocol: str = ""
    message: str = ""
    """Why there is no score."""
    reason: str = ""
    raw: tuple[str, ...] = ()
    """The judge's answers as they came."""


@dataclass(frozen=True, slots=True)
class Credit:
    """What each step of a record's trajectory was worth (docs/counterfactual.md)."""

    values: tuple[tuple[float | None, float | None], ...]
    """Of each state, from before the first step on, and of the end where the policy said STOP: its value and
    the standard error of that; None where they are not known."""
    actions: tuple[str, ...]
    """The edit of each step; empty for STOP."""
    advantages: tuple[float | None, ...]
    effects: tuple[float | None, ...]
    """What each did for the end: its score, less that without the step."""
    end: float | None
    """The score of the end."""
    ruin: int | None
    """The step that ruined it, from 0; None: no step can be named."""
    pictures: tuple[Entry, ...] = ()
    """Before that step, after it, without it, and the best that came of going on from before it."""


@dataclass(frozen=True, slots=True)
class Card:
    """One record with its trajectory."""

    record_id: str
    instruction: str
    status: str
    """ok, unfinished or failed."""
    outcome: str
    """Stop reason, or error kind."""
    message: str
    """What the error says; empty of a record that did not fail."""
    steps: int
    seconds: float
    size: tuple[int, int] | None
    """Width and height of the result; None where there is none."""
    models: Mapping[str, str | None]
    """Role -> identity of who answered."""
    final_thought: str
    trajectory: tuple[Entry, ...]
    work_id: str = ""
    result_digest: str = ""
    """Of the result's pixels; empty where there is none."""
    cost: float = 0.0
    """US dollars that endpoints charged."""
    score: float | None = None
    """The judge's, of the result."""
    fidelity: Mapping[str, float | None] | None = None
    """Facts of the result against the original (docs/fidelity.md); None where they were not measured."""
    closeness: float | None = None
    """How near the judge came to deciding otherwise: the least distance of a step's score from what accepts
    it. None without a judge."""
    whole: tuple[Picture | None, Picture | None] = (None, None)
    """The original and the result with all their pixels, to be looked at one to one."""
    verdicts: tuple[Verdict, ...] = ()
    """Of the evaluations whose scores are shown."""
    credit: Credit | None = None
    """Of the counterfactual that is shown, where it looked at this record."""

    @property
    def ratio(self) -> float:
        """Width / height of the places its pictures are shown in: the pictures' own, or between them where
        edits change it."""
        return find_ratio(self.trajectory)


def find_ratio(entries: Sequence[Entry]) -> float:
    """Width / height of the places of a film strip, as `Card.ratio`."""
    pictures = [entry.picture for entry in entries if isinstance(entry.picture, Picture)]
    ratios = [picture.width / picture.height for picture in pictures]
    return min(max(geometric_mean(ratios or [1.5]), 0.8), 1.6)


@dataclass(frozen=True)
class Chart:
    """One chart."""

    name: str
    """What of a record it shows, as the page's script knows it."""
    title: str
    labels: Sequence[str]
    counts: Sequence[int]
    """Records of the whole run in each bin, also where the page shows but a sample."""
    edges: Sequence[float] = ()
    """Of a chart of numbers; empty of one of names."""
    first: int = 0
    """The first bin shown: empty ones at either end are left out."""
    kinds: Sequence[str] = ()
    """Of each bin how it is coloured."""
    means: Sequence[float] = ()
    """Of a chart of scores by name: the mean score of each bin, which its bar shows in place of the count."""
    intervals: Sequence[tuple[float, float] | None] = ()
    """Of these means, 95 %; None where there is none."""
    of: str = ""
    """Of such a chart, the one whose values the means are of."""
    note: str = ""
    """What is to be known of it, in a sentence."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """What a page says of an evaluation of the run."""

    title: str
    judge: str
    protocol: str
    counts: Sequence[str]
    """How many of the run's results have a score, why others have none, and which scores are left out."""
    charts: Sequence[Chart]
    controls: Sequence[tuple[str, bool]]
    """How far the judge can be trusted, a line each, and whether that is a reason to look."""
    fooled: str
    """The warning where something that must not do scored as well as a result; else empty."""


@dataclass(frozen=True, slots=True)
class Page:
    """All that the page shows."""

    summary: RunSummary
    """Its record figures are those of all results."""
    pace: float | None
    """Images per minute of the last call; None when it edited none."""
    manifest: str
    models: Mapping[str, str]
    """Role -> identity."""
    version: str
    """Of mira_batch, that made the run."""
    written: datetime
    rule: str
    """Which records are shown, in a sentence."""
    charts: Sequence[Chart]
    scorings: Sequence[Scoring]
    """Evaluations whose scores are shown."""
    data: str
    """JSON for the page's script: the records."""
    chunks: str
    """JSON for it: where their pictures are."""
    in_files: bool
    """Whether these are in script files beside the page."""
    rejects: Sequence[Mapping[str, Any]]
    """Rows of `plan/rejects.parquet`, some or all."""
    rejected: int
    """How many there are."""
