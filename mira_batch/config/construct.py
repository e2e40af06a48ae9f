"""The configuration of construct: from sessions and runs of the edit job to samples that policies learn
from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mira_batch.config.base import Location, Strict
from mira_batch.config.models.local import SamplingConfig
from mira_batch.config.models.served import ServedConfig
from mira_batch.config.shared import StorageConfig

CONSTRUCT_VERSION = 3
"""Raised when this package's code would make other samples of the same sources."""


class SourceConfig(Strict):
    """What every source has."""

    name: str | None = Field(default=None, min_length=1)
    """Name of the data set, in samples and on the card. None: of runs what their records' metadata say as
    `dataset`, else the name of the directory; of published data sets their own."""
    licence: str | None = Field(default=None, min_length=1)
    """Its licence, as an SPDX identifier where there is one. None: of runs what their records' metadata say
    as `licence`; of published data sets that of their owners; else it stays unknown, and the card says so."""


class RunsConfig(SourceConfig):
    """Trajectories of the edit job: of one run, or of all runs under an output."""

    type: Literal["runs"]
    uri: Location
    """The directory of a run, with several rollouts of a record or one; or that of all runs: then of each
    record the one that is current."""
    scores: Literal["none", "run"] | Location = "none"
    """Who says how good a result is: the directory of an evaluation of it (`mira-batch evaluate`); `run`: the
    judge that took part in the run, by the score of the step whose image is the result; `none`: nobody."""
    approved_only: bool = False
    """Only results of which people's newest decision is to approve (`mira-batch decide`)."""
    rejected: Literal["keep", "drop"] = Field(default="keep", exclude_if=lambda what: what == "keep")
    """What becomes of results that people's newest decision rejects. keep: nobody is asked. drop: they are
    left out and counted, and those that nobody has decided about are learned from."""
    decisions: Location | None = None
    """A file of decisions, beside those that lie with the runs."""

    @property
    def asks_people(self) -> bool:
        """Whether people's decisions count."""
        return self.approved_only or self.rejected == "drop"

    @model_validator(mode="after")
    def _asks_somebody(self) -> RunsConfig:
        if self.decisions is not None and not self.asks_people:
            raise ValueError(
                "decisions: is for approved_only: true or rejected: drop; without these nobody is asked"
            )
        if self.approved_only and self.rejected == "drop":
            raise ValueError("rejected: has no effect with approved_only, which leaves them out anyway")
        return self


class DataConfig(SourceConfig):
    """A data set on disk, as it was downloaded."""

    data: Location
    """Its folder, or the file that names its images."""
    images: Location | None = None
    """The folder that its image names are relative to. None: as its owners lay it out."""


class MagicBrushConfig(SourceConfig):
    """MagicBrush: sessions of one to three turns, whose images people accepted."""

    type: Literal["magicbrush"]
    data: Location
    """As published: the folder of the test archive, or that of the Hugging Face data set."""
    split: str | None = None
    """Which, where the Hugging Face data set has several."""


class ImgEditConfig(DataConfig):
    """ImgEdit's multi-turn part: JSON of `{data: [{input_images, output_images, prompt}, …]}`."""

    type: Literal["imgedit"]


class NhrEditConfig(DataConfig):
    """NHR-Edit: `metadata.jsonl` and its images; several edits of one image, each by itself."""

    type: Literal["nhr-edit"]


class ComplexEditConfig(SourceConfig):
    """Complex-Edit: an image, a chain of atomic instructions, and the compound one; without edited images."""

    type: Literal["complex-edit"]
    data: Location
    """The folder or file of the Hugging Face data set."""
    split: str | None = None
    """Which, where there are several."""


class PicoBananaConfig(DataConfig):
    """Pico-Banana-400K: its JSONL of multi-turn edits, with the images fetched."""

    type: Literal["pico-banana"]


class SessionsConfig(DataConfig):
    """Sessions of your own: JSONL or Parquet of session_id, image, turns (see docs/training-data.md)."""

    type: Literal["sessions"]


AnySource = Annotated[
    RunsConfig
    | MagicBrushConfig
    | ImgEditConfig
    | NhrEditConfig
    | ComplexEditConfig
    | PicoBananaConfig
    | SessionsConfig,
    Field(discriminator="type"),
]


class MergeConfig(Strict):
    """How the turns of a session become one complex instruction."""

    orders: int = Field(default=1, ge=1, le=24)
    """Most orders that the edits of a session are named in. Above 1 only where they are independent."""
    independent: Literal["session", "text"] = "session"
    """What says so. session: `independent: true` of a session of your own, alone. text: a rule over their
    words, which errs on the side of no: no shared noun, nothing that refers back or to a place, and no edit
    of the whole picture (docs/training-data.md)."""
    min_edits: int = Field(default=1, ge=1)
    """Sessions with fewer edits are left out, and counted."""
    max_edits: int = Field(default=8, ge=1)
    """Sessions with more are left out, and counted."""


class RewriterConfig(ServedConfig):
    """A model behind an OpenAI-compatible chat endpoint that says instructions in other words."""

    type: Literal["openai"]
    sampling: SamplingConfig = SamplingConfig(temperature=0.8)
    """How its text is drawn; the seed follows from the instruction, the paraphrase's number and
    `paraphrase.seed`."""


class ParaphraseConfig(Strict):
    """Other words for the complex instructions."""

    count: int = Field(default=0, ge=0, le=16)
    """Paraphrases of each, beside the merged instruction itself."""
    seed: int = 0
    """Of the draws."""
    model: RewriterConfig | None = None
    """Who writes them. None: a small grammar that changes politeness, connectives and a few verbs."""


class SelectConfig(Strict):
    """Which trajectories of runs are learned from."""

    statuses: tuple[Literal["ok", "unfinished"], ...] = ("ok",)
    """Those that ended so. Of unfinished ones no sample says stop."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """Only those that score at least this."""
    keep: int | None = Field(default=None, ge=1)
    """Of several of a record keep so many, the best first, of equals those of fewer steps. None keeps all."""
    unscored: Literal["refuse", "drop"] = "refuse"
    """What becomes of a trajectory without a score, where one is needed: the whole construct is refused, or
    it is dropped and counted."""


class SamplesConfig(Strict):
    """How trajectories are cut into samples."""

    sessions: bool = True
    """Whether sessions that have an image of each turn give samples themselves; else only candidates."""
    recovery: bool = True
    """Whether the step after a wrong one is a sample (origin: recovery). The wrong one never is."""
    worse: float = Field(default=0.05, ge=0, le=1)
    """A step is wrong where the run's judge scores its image lower than the one before by more than this."""
    hindsight: Literal["never", "sessions", "trust_editor"] = "never"
    """Relabelled samples: the edits that led to an image are the right answers to the instruction that is
    merged from them. sessions: the first turns of sessions, whose images people or owners accepted.
    trust_editor: also wrong steps and trajectories below `select.threshold`, taking the editor at its word;
    right only for editors that do what they are told."""
    refers_back: Literal["drop", "keep"] = "drop"
    """Turns of sessions that can't be understood by themselves ("make it red too"): the policy's prompt
    forbids such edits, so they are no answers, but stay in the history."""
    part_rows: int = Field(default=2_000, ge=1)
    """Most samples of a file."""
    part_bytes: int = Field(default=128_000_000, ge=1_000)
    """A file is closed at about so many bytes of images; it is held in memory while it is made."""


class SplitConfig(Strict):
    """What is held out for validation."""

    val_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of the source images whose samples are all `val`. By the digest of their pixels, never by row."""
    seed: int = 0
    """Another seed holds out others."""


class ConstructOutput(Strict):
    """Where it all goes."""

    uri: Location
    """A directory of its own: `sessions/`, `merged/`, `paraphrased/`, `candidates/`, `selected/`,
    `best_scores/`, `samples/` and the data card."""


class ConstructConfig(Strict):
    """From sessions, and runs of the edit job, to samples that policies are trained on."""

    job: Literal["construct"] = "construct"
    """Which job it is."""
    output: ConstructOutput
    """Where it all goes."""
    sources: tuple[AnySource, ...] = Field(min_length=1)
    """What it is made from."""
    merge: MergeConfig = MergeConfig()
    """Of sessions: turns to one instruction."""
    paraphrase: ParaphraseConfig = ParaphraseConfig()
    """Of sessions: other words for it."""
    select: SelectConfig = SelectConfig()
    """Of runs: which trajectories."""
    samples: SamplesConfig = SamplesConfig()
    """Trajectories to samples."""
    split: SplitConfig = SplitConfig()
    """Training and validation."""
    storage: StorageConfig = StorageConfig()
    """How object stores are reached."""

    @model_validator(mode="after")
    def _has_scores_where_needed(self) -> ConstructConfig:
        needs = [name for name in ("threshold", "keep") if getattr(self.select, name) is not None]
        for number, source in enumerate(self.sources):
            if isinstance(source, RunsConfig) and source.scores == "none" and needs:
                raise ValueError(
                    f"sources.{number}: select.{needs[0]} needs scores; name an evaluation of these runs in "
                    "its `scores`, or `run` where a judge took part in them"
                )
        return self

    @model_validator(mode="after")
    def _keeps_enough(self) -> ConstructConfig:
        if self.merge.min_edits > self.merge.max_edits:
            raise ValueError("merge: min_edits is above max_edits, so no session would be left")
        if not self.select.statuses:
            raise ValueError("select.statuses: is empty, so no trajectory would be left")
        return self

    def settings(self) -> dict[str, Any]:
        """All that decides what is made, as plain JSON data."""
        return {
            "version": CONSTRUCT_VERSION,
            **self.model_dump(mode="json", exclude={"job", "output", "storage"}),
        }
