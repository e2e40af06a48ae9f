"""The judge that asks only of what an edit should have left alone: is it where it was, in its colours?"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence

from mira_batch.config.models import FidelityJudgeConfig
from mira_batch.core.ports import Axis, Judgement, JudgeRequest

PROTOCOL = "fidelity-judge/1"
"""How it scores; raised with what `imaging/fidelity.py` measures."""
_SCALES = {
    "delta_e": (0.0, 200.0),
    "delta_e_p95": (0.0, 200.0),
    "changed_share": (0.0, 1.0),
    "sharpness_ratio": (0.0, 1e9),
    "noise_added": (-255.0, 255.0),
    "alpha_loss": (0.0, 1.0),
}


class FidelityJudge:
    """Implements `core.ports.Judge`: 1 within the limits, 0 beyond one of them. Of the instruction it knows
    nothing, so 1 doesn't mean that it was carried out."""

    max_batch = 16

    def __init__(self, config: FidelityJudgeConfig) -> None:
        """
        Args:
            config: its limits.
        """
        self._config = config
        bounds = [(fact, limit, 1) for fact, limit in config.most().items()]
        self._bounds = [*bounds, *((fact, limit, -1) for fact, limit in config.least().items())]

    @property
    def identity(self) -> str:
        return f"{PROTOCOL} {json.dumps(self._config.pixels(), sort_keys=True, separators=(',', ':'))}"

    def bucket(self, request: JudgeRequest) -> Hashable:
        return None

    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]:
        return [self._judge(request) for request in requests]

    def _judge(self, request: JudgeRequest) -> Judgement:
        from mira_batch.imaging import measure_fidelity  # numpy and Pillow, which only workers need

        facts = measure_fidelity(request.original.pixels, request.candidate.pixels).dump()
        reason = self._find_fault(facts)
        score = 1.0 if reason is None else 0.0
        axes = _make_axes(facts, sum(request.original.size))
        return Judgement(score, reason or "within the limits", axes, PROTOCOL)

    def _find_fault(self, facts: Mapping[str, float | None]) -> str | None:
        """Which limit is overstepped, in words."""
        for fact, limit, sign in self._bounds:
            value = facts[fact]
            if value is None:
                if self._config.unmeasured == "reject" and fact != "alpha_loss":  # most images have no alpha
                    return f"{fact} can't be measured"
            elif sign * value > sign * limit:
                return f"{fact} is {value:g}, {'above' if sign > 0 else 'below'} {limit:g}"
        return None


def _make_axes(facts: Mapping[str, float | None], farthest: float) -> dict[str, Axis]:
    axes = {}
    for name, (low, high) in {"shift": (0.0, float(farthest)), **_SCALES}.items():
        if (value := facts[name]) is not None:
            axes[name] = Axis(min(max(value, low), high), low, high)
    return axes
