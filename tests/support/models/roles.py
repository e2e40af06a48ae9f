"""The roles of models whose answers are no texts or images but what a test likes: they pass unchecked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mira_batch.models.serving import roles


def pass_on(answer: Any) -> Any:
    return answer


POLICY = replace(roles.POLICY, check=pass_on)
EDITOR = replace(roles.EDITOR, check=pass_on, check_apart=False)
JUDGE = replace(roles.JUDGE, check=pass_on)
