"""Where step images lie that are kept as references, as objects of their own."""

from __future__ import annotations

import re

_STEP_IMAGE = re.compile(r"(?:^|/)(steps/[0-9A-Za-z_-]+/\d+(?:-[0-9a-f]+)?\.\w+)$")
"""The first runs had no digest in it."""


def step_image_key(work_id: str, index: int, digest: str, form: str) -> str:
    """Key of a step's image that is kept as a reference. It goes by content: whoever is first, and however
    late another is, the row's image stands there.

    Args:
        work_id: of the record.
        index: the step, from 0.
        digest: of the image's pixels.
        form: in which it is encoded.
    """
    return f"steps/{work_id}/{index}-{digest[:8]}.{form}"


def find_step_image(path: str | None) -> str | None:
    """The key of the step image that a row refers to, wherever its run lay then: a run may be moved, or a row
    be copied into another one. None where it refers to none."""
    match = _STEP_IMAGE.search(path or "")
    return match[1] if match else None
