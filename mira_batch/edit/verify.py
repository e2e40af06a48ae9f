"""What makes a row of a bulk edit sound.

every image decodes      result and step images, embedded or referenced
every chain is whole     steps are numbered 0…n-1, each starts from the image the last accepted one
                         gave, and a lossless image has the very pixels its step names
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from mira_batch.config.output import ImageOutput
from mira_batch.core.errors import RecordError, boundary
from mira_batch.core.identity import frame_of, name_rollout
from mira_batch.core.types import ErrorKind, Status
from mira_batch.storage.run.step_images import find_step_image
from mira_batch.storage.run.verify import RowCheck
from mira_batch.storage.stores import Store


def check_row(store: Store, row: Mapping[str, Any], output: ImageOutput) -> RowCheck:
    """Check one row of the results.

    Args:
        store: the run's directory.
        row: the row, of schema `RESULTS`.
        output: the form in which images were written.
    """
    lossless = output.format == "png" or (output.format == "webp" and output.quality == 100)
    problems: list[str] = []
    images, name = 0, repr(name_rollout(row["record_id"], row.get("rollout")))

    def check(picture: dict[str, Any], digests: set[str | None], what: str) -> None:
        nonlocal images
        problem = _find_image_problem(store, picture, digests if lossless else None)
        if problem is None:
            images += 1
        else:
            problems.append(f"{name}: {what} {problem}")

    current, accepted = row["source_digest"], [row["source_digest"]]
    for index, step in enumerate(row["steps"]):
        if step["index"] != index:
            problems.append(f"{name}: step {index} is numbered {step['index']}")
        if step["before"] != current:
            problems.append(f"{name}: step {index} does not start from the image before it")
        if step["image"] is not None:
            check(step["image"], {step["after"]}, f"step {index}'s image")
        if step["accepted"]:
            current = step["after"]
            accepted.append(current)
    for each in row.get("judgements") or ():
        if each["image"] is not None:
            place = f"step {each['step']}'s candidate {each['attempt']}"
            check(each["image"], {each["after"]}, place)
    has_judge = row["models"]["judge"] is not None  # then the best accepted image is kept, not the last
    if row["image"] is not None:
        check(row["image"], {row["result_digest"]}, "result image")
        if not row["restored"] and row["result_digest"] not in (accepted if has_judge else accepted[-1:]):
            problems.append(f"{name}: the result is not the image of a step it may be taken from")
    elif row["status"] != Status.failed:
        problems.append(f"{name}: status is {row['status']}, but there is no image")
    if row["num_steps"] != len(row["steps"]):
        problems.append(f"{name}: num_steps is {row['num_steps']}, steps {len(row['steps'])}")
    return RowCheck(images, len(row["steps"]), problems)


def _find_image_problem(store: Store, picture: dict[str, Any], digests: set[str | None] | None) -> str | None:
    """What is wrong with an image, if anything. `digests`: its pixels must have one of these."""
    data, key = picture["bytes"], find_step_image(picture["path"])
    try:
        if data is not None:
            image = _decode(data)
        else:
            image = store.read(key, _decode) if key else None
        if image is None:
            return f"is missing: {picture['path']}"
    except RecordError as error:
        return f"does not decode: {error}"
    if digests is None or frame_of(image).digest in digests:
        return None
    if image.mode == "RGB" and frame_of(image.convert("RGBA")).digest in digests:
        return None  # webp drops an alpha channel that hides nothing
    return "has other pixels than its step gave"


def _decode(data: bytes) -> Image.Image:
    with boundary(ErrorKind.image_unreadable):
        image = Image.open(io.BytesIO(data))
        image.load()
        return image
