"""The configuration of the flywheel: the jobs of a turn, each by its own config, and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from mira_batch.config.base import Location, Strict
from mira_batch.config.construct import ConstructConfig, ConstructOutput, RunsConfig
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.config.models.local import PolicyAdapterConfig, QwenVLConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.config.train import FullTuning, SftConfig, TrainOutput

_OURS: Mapping[str, tuple[str, ...]] = {
    "samples": ("job", "output", "storage"),
    "train": ("job", "data.uri", "output", "backend", "storage"),
    "edit": ("job", "output.uri", "output.skip_done", "run_id", "policy.adapter", "backend", "storage"),
    "evaluate": (
        "job", "input.manifest", "input.against", "output.uri", "output.skip_done", "run_id", "backend",
        "storage",
    ),
}  # fmt: skip
"""Settings of the jobs that the flywheel itself gives."""
_DECIDED: Mapping[str, dict[str, Any]] = {"learn": {"rejected": "drop"}, "leave_out": {"approved_only": True}}
"""What a source of runs is told, by `undecided`."""


class FlywheelOutput(Strict):
    """Where turns go."""

    uri: Location
    """Directory of all turns: `turns/`, the runs on held-out records in `heldout/`, their evaluations in
    `scores/`."""


class FlywheelConfig(Strict):
    """From a catalogue and people's decisions to a policy that is promoted, or not: construct, train, edit,
    evaluate, compare. Sections of jobs hold what their own configs hold, but for places, run_id, backend and
    storage, which the flywheel gives."""

    job: Literal["flywheel"] = "flywheel"
    """Which job it is."""
    output: FlywheelOutput
    """Where turns go."""
    promoted: Location | None = None
    """The place of promotions, which `policy.adapter.promoted` of other runs names. None: `promoted/` in
    `output.uri`."""
    samples: ConstructConfig
    """How samples are made, by the construct job: its sources are your catalogues."""
    train: SftConfig
    """How a policy learns from them: a LoRA adapter, each turn anew."""
    edit: BulkEditConfig
    """How policies are tried: the edit job on the manifest of held-out records. Its policy is of type
    qwen_vl; `weights` and `prompt` are those of `train`, and need not be said again."""
    evaluate: EvaluateConfig
    """Who judges what they made."""
    undecided: Literal["learn", "leave_out"] = "learn"
    """What becomes of results that nobody has decided about (`mira-batch decide`): they are learned from, or
    only what people approved of is. What people rejected is left out in any case."""
    gate: tuple[str, ...] = Field(default=("overall>=0",), min_length=1)
    """What the candidate must show over the current policy to be promoted, each as `mira-batch compare
    --gate` takes it: the low end of the difference's interval counts."""
    max_unscored: float = Field(default=0.02, ge=0, le=1)
    """It is not promoted either where it leaves more held-out records without a score than the current policy
    does, by more than this share of them: since they failed, say, or since `evaluate.input` leaves out its
    results of them alone. Scores alone don't show that."""
    min_samples: int = Field(default=1, ge=1)
    """A turn with fewer samples to train on ends without a training."""
    backend: Literal["ray", "inline"] = "ray"
    """Of all stages. ray: on this machine or a cluster; inline: in this process."""
    storage: StorageConfig = StorageConfig()
    """How object stores are reached."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """Give the sections what is the flywheel's to give; what isn't as it should be, pydantic will say."""
        if not isinstance(data, dict):
            return data
        for section, names in _OURS.items():
            for name in names:
                if _find(data, section, *name.split(".")) is not None:
                    raise ValueError(f"{section}.{name}: is given by the flywheel; leave it out")
        place = _find(data, "output", "uri") or "."
        shared = {name: data[name] for name in ("storage",) if name in data}
        alike = shared | {"backend": data.get("backend", "ray")}
        filled = dict(data)
        for section, given in {
            "samples": {"output": {"uri": place}, **shared},
            "train": {"data": {"uri": place}, "output": {"uri": place}, **alike},
            "edit": {"output": {"uri": place, "skip_done": False}, **alike, "policy": _find_policy(data)},
            "evaluate": {"input": {"manifest": place}, "output": {"uri": place}, **alike},
        }.items():
            if isinstance(data.get(section), dict):
                filled[section] = _merge(data[section], given)
        if isinstance(sources := _find(data, "samples", "sources"), list | tuple):
            said = data.get("undecided", "learn")
            decided = _DECIDED.get(said, {}) if isinstance(said, str) else {}
            filled["samples"]["sources"] = [_ask_people(source, decided) for source in sources]
        return filled

    @model_validator(mode="after")
    def _fits(self) -> FlywheelConfig:
        edit, train, policy = self.edit, self.train, self.edit.policy
        if isinstance(train.tuning, FullTuning):
            raise ValueError("train.tuning: full gives a whole model, and adapters are promoted; take lora")
        if not isinstance(policy, QwenVLConfig):
            raise ValueError(f"edit.policy.type: is {policy.type}, and what is trained is a qwen_vl")
        if policy.weights != train.model.weights:
            raise ValueError(
                f"edit.policy.weights: is {policy.weights}, and train.model.weights {train.model.weights}; "
                "an adapter is of one model"
            )
        if policy.prompt != train.prompt:
            raise ValueError("edit.policy.prompt: is another than train.prompt; leave one of both out")
        if "undecided" in self.model_fields_set and not any(
            isinstance(source, RunsConfig) for source in self.samples.sources
        ):
            raise ValueError("undecided: is about sources of type runs, and there is none; leave it out")
        if not edit.enters_catalogue or edit.select is not None:
            raise ValueError(
                "edit: has one try at each held-out record; leave out rollouts, branches and select"
            )
        return self

    @model_validator(mode="after")
    def _tries_both_on_the_same(self) -> FlywheelConfig:
        judged = self.evaluate.input
        narrow = judged.where != "true" or set(judged.statuses) != {"ok", "unfinished"}
        if self.evaluate.sample is not None and narrow:
            raise ValueError(
                "evaluate.sample: is drawn from what evaluate.input.where and statuses leave, and so hides "
                "records that the candidate fails on; leave out the sample, or these"
            )
        return self

    @property
    def place(self) -> str:
        """The place of promotions."""
        return self.promoted or f"{self.output.uri}/promoted"

    def construct_job(self, turn: str) -> ConstructConfig:
        """The construct of a turn.

        Args:
            turn: the turn's directory.
        """
        return self.samples.model_copy(update={"output": ConstructOutput(uri=f"{turn}/data")})

    def train_job(self, turn: str) -> SftConfig:
        """The training of a turn; arguments as of `construct_job`."""
        data = self.train.data.model_copy(update={"uri": f"{turn}/data"})
        return self.train.model_copy(update={"data": data, "output": TrainOutput(uri=f"{turn}/trained")})

    def edit_job(self, adapter: str | None) -> BulkEditConfig:
        """The run of a policy on the held-out records. Policies have runs apart, since the adapter is in the
        name of its run.

        Args:
            adapter: directory of its adapter; None: it is the base model.
        """
        found = None if adapter is None else PolicyAdapterConfig(weights=adapter)
        output = self.edit.output.model_copy(update={"uri": f"{self.output.uri}/heldout"})
        policy = self.edit.policy.model_copy(update={"adapter": found})
        return self.edit.model_copy(update={"output": output, "policy": policy})

    def evaluate_job(self, run: str) -> EvaluateConfig:
        """The evaluation of such a run.

        Args:
            run: its directory.
        """
        judged = self.evaluate.input.model_copy(update={"manifest": run})
        output = self.evaluate.output.model_copy(update={"uri": f"{self.output.uri}/scores"})
        return self.evaluate.model_copy(update={"input": judged, "output": output})

    def settings(self) -> dict[str, Any]:
        """All that decides what comes of a turn, as plain JSON data."""
        judged = self.evaluate.model_dump(mode="json", include={"group", "sample", "controls"})
        asked = self.evaluate.input.model_dump(mode="json", exclude={"manifest"})
        return {
            "samples": self.samples.settings(),
            "train": self.train.learning(),
            "edit": {
                "input": self.edit.input.model_dump(mode="json"),
                "pixels": self.edit.pixels(),
                "first": self.edit.first,
            },
            "evaluate": {"input": asked, "scores": self.evaluate.scores(), **judged},
            "promoted": self.place,
            **self.model_dump(mode="json", include={"gate", "max_unscored", "min_samples"}),
        }


def _find(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _find_policy(data: Any) -> dict[str, Any]:
    """What the policy of the held-out runs is by what is trained, as far as it doesn't say so itself."""
    known = {"weights": _find(data, "train", "model", "weights"), "prompt": _find(data, "train", "prompt")}
    said = _find(data, "edit", "policy")
    found = {"type": "qwen_vl"} | {name: value for name, value in known.items() if value is not None}
    if not isinstance(said, dict):
        return found
    return found | said if said.get("type", "qwen_vl") == "qwen_vl" else said


def _merge(said: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(said)
    for name, value in given.items():
        inner = found.get(name)
        if isinstance(value, dict) and inner is not None:  # what isn't settings, pydantic will say
            found[name] = _merge(inner, value) if isinstance(inner, dict) else inner
        else:
            found[name] = value
    return found


def _ask_people(source: Any, decided: dict[str, Any]) -> Any:
    if not isinstance(source, dict) or source.get("type") != "runs":
        return source
    for name in ("approved_only", "rejected"):
        if name in source:
            raise ValueError(f"samples.sources: {name}: is what `undecided` says here; leave it out")
    return source | decided
