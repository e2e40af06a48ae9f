"""The configuration of the evaluate job."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from mira_batch.config.base import Location, Strict
from mira_batch.config.models import JudgeConfig
from mira_batch.config.models.base import ModelConfig
from mira_batch.config.shared import Columns, JobConfig, ManifestConfig, RunLimits, RunOutput
from mira_batch.core.types import Status

EVALUATE_VERSION = 1
"""Raised when this package's code would judge another image, or ask another question about it."""
PAIRS_VERSION = 1
"""The same of two results that are compared."""
COMPARERS = ("pairwise", "rules", "fidelity")
"""Judges that say which of two results is better: the one by looking at both, the others by their scores,
which are exact."""


class PairColumns(Columns):
    """The manifest's names for what is judged: `image` is the edited image."""

    original: str = "original"
    """Column with the image that was edited: a URI or path. Of results it is known without."""


class PairsConfig(ManifestConfig):
    """What is judged: the results of a run, of all runs under an output, or a manifest of pairs."""

    columns: PairColumns = PairColumns()  # pyright: ignore[reportIncompatibleVariableOverride]
    """How the manifest calls its columns."""
    against: Location | None = Field(default=None, exclude_if=lambda place: place is None)
    """The results of another run, or of all runs under another output: each result is compared with that of
    the same record there, in both orders. The judge must be one that compares: pairwise, rules or fidelity.
    None: each result is scored by itself."""
    where: str = "true"
    """Which results: a condition in SQL over the catalogue's columns. A manifest of pairs has none."""
    statuses: tuple[Literal["ok", "unfinished"], ...] = ("ok", "unfinished")
    """Results that ended so are judged, the others left out. Failed ones have no image, and are counted."""

    @model_validator(mode="after")
    def _has_statuses(self) -> PairsConfig:
        if not self.statuses:
            raise ValueError("statuses: is empty, so nothing would be judged; leave it out")
        return self

    @property
    def wanted(self) -> frozenset[str]:
        """The statuses, as rows have them."""
        return frozenset(Status(name).value for name in self.statuses)


class ControlsConfig(Strict):
    """What is judged beside the results, to know how far the judge can be trusted."""

    repeats: int = Field(default=16, ge=0, le=100_000)
    """So many results are judged a second time: how far does the judge agree with itself?"""
    canaries: int = Field(default=8, ge=0, le=10_000)
    """For so many results the judge is also asked about images that must not do: the original as it was, a
    black image, the result of another record, and the result under an instruction that makes no sense. Of
    pairs: the result must be preferred to the original and to a black image, and tie with itself."""

    @property
    def asked(self) -> bool:
        """Whether there are any."""
        return self.repeats + self.canaries > 0


class EvaluateLimits(RunLimits):
    """What bounds a judging, and the whole run."""

    judge_seconds: float = Field(default=300.0, gt=0)
    """Longest a call of the judge may take."""

    OPERATIONAL: ClassVar[frozenset[str]] = RunLimits.OPERATIONAL | {"judge_seconds"}


class EvaluateOutput(RunOutput):
    """Where the scores go."""

    skip_done: bool = False
    """Leave out what an earlier evaluation under the same `uri` has scored. Then the figures are of the
    others only, and `compare` finds only these."""


class EvaluateConfig(JobConfig):
    """Judge the results of a run, of a catalogue, or of any editor, and write down each score."""

    job: Literal["evaluate"] = "evaluate"  # pyright: ignore[reportIncompatibleVariableOverride]
    """Which job it is."""
    output: EvaluateOutput  # pyright: ignore[reportIncompatibleVariableOverride]
    """Where the scores go."""
    input: PairsConfig
    """What is judged. In place of a manifest it may name a run's directory, or that of all runs."""
    judge: JudgeConfig
    """Who judges."""
    group: str | None = None
    """A key of the records' metadata: figures are also given for each of its values."""
    sample: int | None = Field(default=None, ge=1)
    """Judge only so many of the results, drawn at random, the same ones each time. None judges all."""
    controls: ControlsConfig = ControlsConfig()
    """What is judged beside them."""
    limits: EvaluateLimits = EvaluateLimits()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What bounds each judging and the whole run."""

    @model_validator(mode="after")
    def _fits_its_source(self) -> EvaluateConfig:
        if self.select is not None:
            raise ValueError("select: is for the edit job; use input.where")
        return self

    @model_validator(mode="after")
    def _compares(self) -> EvaluateConfig:
        source = self.input
        if source.against is None:
            return self
        if self.judge.type not in COMPARERS:
            raise ValueError(
                f"input.against: a judge {self.judge.type} scores one image; take {', '.join(COMPARERS)}, or "
                "evaluate both runs and hold their scores together with `mira-batch compare`"
            )
        if source.against.rstrip("/") == source.manifest.rstrip("/"):
            raise ValueError("input.against: is what is judged itself; name another run")
        return self

    def models(self) -> dict[str, ModelConfig]:
        """The models that the job loads, by role."""
        return {"judge": self.judge}

    @property
    def charges(self) -> bool:
        """Whether calls of the judge cost money."""
        return self.judge.charges

    def scores(self) -> dict[str, Any]:
        """Everything that changes a score, as plain JSON data."""
        pairs = {} if self.input.against is None else {"pairs": PAIRS_VERSION}
        return {"version": EVALUATE_VERSION, "judge": self.judge.pixels(), **pairs}
