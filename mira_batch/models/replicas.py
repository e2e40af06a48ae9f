"""The models of one worker: built once from the config, each behind its micro-batcher.

Here what a model returns is checked, so that the loop can trust it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

from mira_batch.config.bulk_edit import BulkEditConfig
from mira_batch.config.models import ModelConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.types import ErrorKind, Frame
from mira_batch.models.build import build_editor, build_judge, build_policy
from mira_batch.models.microbatch import EDITOR, JUDGE, POLICY, MicroBatcher, Role


@dataclass(frozen=True)
class Replicas:
    """Batched access to the models of a worker."""

    policy: MicroBatcher[PolicyRequest, str]
    editor: MicroBatcher[EditRequest, Frame]
    judge: MicroBatcher[JudgeRequest, Judgement] | None
    identities: dict[str, str | None]
    """What answered: identity by role, as it is written to the results."""

    @property
    def out_of_memory(self) -> int:
        """How many calls of any model ran out of memory so far."""
        return sum(batcher.out_of_memory for batcher in self._batchers())

    def close(self) -> None:
        for batcher in self._batchers():
            batcher.close()

    def _batchers(self) -> list[MicroBatcher[Any, Any]]:
        return [batcher for batcher in (self.policy, self.editor, self.judge) if batcher is not None]


async def load_replicas(config: BulkEditConfig) -> Replicas:
    """Build every replica and start its thread. Call it on the event loop that will submit requests.

    Raises:
        ConfigError: a model can't be built as configured.
    """
    policies = [build_policy(config.policy) for _ in range(config.policy.replicas)]
    editors = [build_editor(config.editor) for _ in range(config.editor.replicas)]
    accept = config.judge
    judges = [build_judge(accept.model) for _ in range(accept.model.replicas)] if accept else []
    return Replicas(
        policy=_batcher(POLICY, policies, "propose", _text, config.policy, config.limits.policy_seconds),
        editor=_batcher(EDITOR, editors, "apply", _frame, config.editor, config.limits.edit_seconds),
        judge=_batcher(JUDGE, judges, "score", _judgement, accept.model, config.limits.policy_seconds)
        if accept
        else None,
        identities={
            "policy": policies[0].identity,
            "editor": editors[0].identity,
            "judge": judges[0].identity if judges else None,
        },
    )


def _batcher(
    role: Role,
    models: Sequence[Any],
    method: str,
    check: Callable[[Any], Any],
    config: ModelConfig,
    limit_seconds: float,
) -> MicroBatcher[Any, Any]:
    def checked(call: Callable[[Sequence[Any]], Sequence[Any]]) -> Callable[[Sequence[Any]], list[Any]]:
        return lambda requests: [_outcome(check, answer) for answer in call(requests)]

    calls = [checked(getattr(model, method)) for model in models]
    max_batch = config.max_batch or models[0].max_batch
    return MicroBatcher(role, calls, models[0].bucket, max_batch, limit_seconds)


def _outcome(check: Callable[[Any], Any], answer: Any) -> Any:
    if isinstance(answer, Exception):
        return answer
    try:
        return check(answer)
    except RecordError as error:
        return error


def _text(answer: Any) -> str:
    if not isinstance(answer, str):
        raise RecordError(
            ErrorKind.policy_failed, f"the policy answered with a {type(answer).__name__}, not with text"
        )
    # A token limit or a lax endpoint can cut a character in half; half of one can't be stored as text.
    return answer.encode("utf-8", "replace").decode("utf-8")


def _frame(image: Any) -> Frame:
    """Hold an edited image with its digest. Gray and palette images become RGB."""
    mode = getattr(image, "mode", None)
    if mode is None or not hasattr(image, "tobytes"):
        raise RecordError(
            ErrorKind.editor_failed, f"the editor returned a {type(image).__name__}, not a PIL image"
        )
    if mode not in ("RGB", "RGBA"):
        image = image.convert("RGBA" if "transparency" in image.info or mode in ("LA", "PA") else "RGB")
    if min(image.size) < 1:
        raise RecordError(ErrorKind.editor_failed, f"the editor returned an empty image {image.size}")
    return frame_of(image)


def _judgement(answer: Any) -> Judgement:
    """A judge's fault is a fault, never a low score."""
    score = getattr(answer, "score", None)
    if not isinstance(score, SupportsFloat) or not 0.0 <= float(score) <= 1.0:
        raise RecordError(ErrorKind.judge_failed, f"the judge gave {score!r}, not a score in [0, 1]")
    return Judgement(float(score), str(answer.reason))
