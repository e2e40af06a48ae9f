"""The models of one worker: built once from the config, each behind its micro-batcher or endpoint.

Here what a model returns is checked, so that the loop can trust it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, SupportsFloat

from PIL import Image

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.models.base import BatchedConfig, ModelConfig
from mira_batch.config.models.local import TorchConfig
from mira_batch.config.models.served import ServedConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.pixels import has_alpha, shared
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.types import ErrorKind, Frame
from mira_batch.core.usage import Usage
from mira_batch.models.registry import Fetch, build_editor, build_judge, build_policy, no_weights
from mira_batch.models.serving.batch_limits import Room
from mira_batch.models.serving.endpoint import Endpoint
from mira_batch.models.serving.microbatch import EDITOR, JUDGE, POLICY, MicroBatcher, OnCall, Role


@dataclass(frozen=True)
class Replicas:
    """Access to the models of a worker: those in the process in batches, served ones call by call."""

    policy: MicroBatcher[PolicyRequest, str] | Endpoint[PolicyRequest, str]
    editor: MicroBatcher[EditRequest, Frame] | Endpoint[EditRequest, Frame]
    judge: MicroBatcher[JudgeRequest, Judgement] | None
    identities: dict[str, str | None]
    """What answered: identity by role, as it is written to the results."""
    restore: Callable[[Any, Any], Any] | None
    """The editor's own `restore(image, original)`, where it has one; see `core.ports.Editor`."""

    @property
    def out_of_memory(self) -> int:
        """How many calls of any model ran out of memory so far."""
        return sum(batcher.out_of_memory for batcher in self._batchers())

    @property
    def retries(self) -> int:
        """How many passing faults of endpoints were waited out so far."""
        return sum(batcher.retries for batcher in self._batchers() if isinstance(batcher, Endpoint))

    @property
    def usage(self) -> Usage:
        """Seconds of all calls so far, and of those who waited for them."""
        seconds: dict[str, float] = {"retried": sum(model.wasted_seconds for model in self._batchers())}
        for name in ("policy", "editor", "judge"):
            if (model := getattr(self, name)) is not None:
                seconds[name], seconds[f"{name}_waiting"] = model.busy_seconds, model.waiting_seconds
        return Usage(seconds, retries=self.retries)

    def listen(self, on_call: OnCall) -> None:
        """Have each model call told of when it has ended."""
        for model in self._batchers():
            model.on_call = on_call

    async def close(self) -> None:
        """End threads after the call they are in; cancel calls of endpoints, and close their connections."""
        for batcher in self._batchers():
            batcher.close()
            if isinstance(batcher, Endpoint):
                await batcher.aclose()

    def _batchers(self) -> list[MicroBatcher[Any, Any] | Endpoint[Any, Any]]:
        return [batcher for batcher in (self.policy, self.editor, self.judge) if batcher is not None]


async def load_replicas(config: BulkEditConfig, fetch: Fetch = no_weights) -> Replicas:
    """Build every replica and start its thread. Call it on the event loop that will submit requests.

    Raises:
        ConfigError: a model can't be built as configured.
    """
    limits, room = config.limits, Room()
    fetch = cache(fetch)  # the copies of a model have the same files: they are listed and digested once
    policies = [build_policy(config.policy, fetch, device) for device in _devices(config.policy)]
    editors = [build_editor(config.editor, fetch, device) for device in _devices(config.editor)]
    accept = config.judge
    judges = [build_judge(accept.model) for _ in _devices(accept.model)] if accept else []
    return Replicas(
        policy=_access(POLICY, policies, "propose", _text, config.policy, limits.policy_seconds, room),
        editor=_access(EDITOR, editors, "apply", _frame, config.editor, limits.edit_seconds, room),
        judge=_batcher(JUDGE, judges, "score", _judgement, accept.model, limits.policy_seconds, room)
        if accept
        else None,
        identities={
            "policy": policies[0].identity,
            "editor": editors[0].identity,
            "judge": judges[0].identity if judges else None,
        },
        restore=getattr(editors[0], "restore", None),
    )


def _devices(config: ModelConfig) -> list[str]:
    """The device of each copy of a model."""
    devices = config.devices if isinstance(config, TorchConfig) else ("auto",)
    copies = config.replicas if isinstance(config, BatchedConfig) else 1
    return [device for device in devices for _ in range(copies)]


def _access(
    role: Role,
    models: Sequence[Any],
    method: str,
    check: Callable[[Any], Any],
    config: ModelConfig,
    limit_seconds: float,
    room: Room,
) -> MicroBatcher[Any, Any] | Endpoint[Any, Any]:
    if isinstance(config, ServedConfig):
        (model,) = models
        return Endpoint(role, getattr(model, method), check, config, limit_seconds, model.close)
    assert isinstance(config, BatchedConfig)
    return _batcher(role, models, method, check, config, limit_seconds, room)


def _batcher(
    role: Role,
    models: Sequence[Any],
    method: str,
    check: Callable[[Any], Any],
    config: BatchedConfig,
    limit_seconds: float,
    room: Room,
) -> MicroBatcher[Any, Any]:
    def guarded(call: Callable[[Sequence[Any]], Sequence[Any]]) -> Callable[[Sequence[Any]], list[Any]]:
        return lambda requests: [_taken(answer) for answer in call([_lent(request) for request in requests])]

    calls = [guarded(getattr(model, method)) for model in models]
    max_batch = config.max_batch or models[0].max_batch
    bucket, digests = models[0].bucket, role is EDITOR  # which take milliseconds that the model needn't wait
    return MicroBatcher(role, calls, bucket, max_batch, limit_seconds, room, check, finish_apart=digests)


def _lent(request: Any) -> Any:
    """The request as a model gets it: one that draws on its images draws on copies of its own."""
    frames = {
        name: Frame(shared(frame.pixels), frame.digest)
        for name in ("original", "current", "image", "candidate")
        if (frame := getattr(request, name, None)) is not None
    }
    return replace(request, **frames)


def _taken(answer: Any) -> Any:
    """An answer as we keep it. A model that draws its next image on this one draws on a copy from now on."""
    if not isinstance(answer, Image.Image):
        return answer
    answer.load()
    answer.readonly = 1
    return shared(answer) if answer.mode in ("RGB", "RGBA") else answer.copy()


def _text(answer: Any) -> str:
    if not isinstance(answer, str):
        raise RecordError(
            ErrorKind.policy_failed, f"the policy answered with a {type(answer).__name__}, not with text"
        )
    # A token limit or a lax endpoint can cut a character in half; half of one can't be stored as text.
    return answer.encode("utf-8", "replace").decode("utf-8")


def _frame(image: Any) -> Frame:
    """Hold an edited image with its digest. Gray and palette images become RGB."""
    if not isinstance(image, Image.Image):
        raise RecordError(
            ErrorKind.editor_failed, f"the editor returned a {type(image).__name__}, not a PIL image"
        )
    if image.mode not in ("RGB", "RGBA"):
        image = shared(image.convert("RGBA" if has_alpha(image) else "RGB"))
    if min(image.size) < 1:
        raise RecordError(ErrorKind.editor_failed, f"the editor returned an empty image {image.size}")
    return frame_of(image)


def _judgement(answer: Any) -> Judgement:
    """A judge's fault is a fault, never a low score."""
    score = getattr(answer, "score", None)
    if not isinstance(score, SupportsFloat) or not 0.0 <= float(score) <= 1.0:
        raise RecordError(ErrorKind.judge_failed, f"the judge gave {score!r}, not a score in [0, 1]")
    return Judgement(float(score), str(answer.reason))
