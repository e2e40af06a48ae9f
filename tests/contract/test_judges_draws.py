"""What is asked again at an endpoint is drawn anew, whichever judge is put together of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.contract.judge_calls import REQUEST, judging, openai, submit
from tests.support.servers.models import Answer, ModelServer


@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize("judge", ["editscore", "pairwise", "panel", "plain"])
def test_judges_over_judges_hand_the_draw_on(server: ModelServer, judge: str) -> None:
    """EditScore directly, comparing against the original, a panel, and the endpoint's own judge."""
    server.script = judging if judge != "plain" else lambda asked: Answer('{"reason": "so", "score": 0.5}')
    reach = openai(server, sampling={"temperature": 0.7})
    config: dict[str, Any] = {"type": judge, "backend": reach}
    if judge == "panel":
        members = [
            {"name": name, "model": {"type": name, "backend": reach}} for name in ("viescore", "editscore")
        ]
        config = {"type": "panel", "members": members}
    if judge == "plain":
        config = reach
    sent = []
    for draw in (0, 1):
        (timed,) = submit(config, replace(REQUEST, draw=draw))
        assert not isinstance(timed, Exception), timed
        sent.append({asked.body["seed"] for asked in server.asked})
        server.asked.clear()
    assert sent[0] and not sent[0] & sent[1]
