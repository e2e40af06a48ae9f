"""Lines of the formats that are JSON with images in files of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mira_batch.construct.formats.words import Asked, Row

REFLECTION = "visual_reflection_v1"


def make_messages(row: Row, asked: Asked, images: Sequence[str], relative: str = "") -> dict[str, Any]:
    """LLaMA-Factory (sharegpt with OpenAI's roles) and ms-swift: messages with a mark for each image.

    Args:
        row: the sample.
        asked: the same in words.
        images: its files.
        relative: put before their names.
    """
    return {
        "messages": [
            {"role": "system", "content": asked.system},
            {"role": "user", "content": asked.flatten()},
            {"role": "assistant", "content": row["answer"]},
        ],
        "images": [f"{relative}{name}" for name in images],
    }


def describe_datasets(files: Mapping[str, str]) -> dict[str, Any]:
    """LLaMA-Factory's `dataset_info.json`: how our files are read.

    Args:
        files: name of the data set -> its file.
    """
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    form = {"formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"}}
    return {
        name: {"file_name": file, **form, "tags": tags | {"system_tag": "system"}}
        for name, file in files.items()
    }


def make_edit(row: Row, image: str) -> dict[str, Any] | None:
    """Edit-R1 and Flow-Factory, which train editors: an atomic edit and the image that it is to be made of;
    None of a stop.

    Args:
        row: the sample.
        image: file of its current image.
    """
    if row["edit"] is None:
        return None
    return {"prompt": row["edit"], "image": image, "requirement": ""}


def gather_trajectories(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Samples of one trajectory together: they stand one after the other.

    Args:
        rows: samples in the order of their files.
    """
    held: list[Row] = []
    for row in rows:
        if row["origin"] == "hindsight":  # of another instruction
            continue
        if held and (_name(row) != _name(held[0]) or row["step"] <= held[-1]["step"]):
            yield held
            held = []
        held.append(row)
    if held:
        yield held


def _name(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("dataset", "run", "record_id", "work_id", "instruction"))


def make_reflection(
    steps: Sequence[Row], images: Sequence[Mapping[str, str]], snapshot: str
) -> dict[str, Any] | str:
    """verl-omni's visual_reflection_v1: a whole trajectory; or why it is none.

    Args:
        steps: its samples, in order.
        images: uri and sha256 of the image that each was asked about.
        snapshot: of the samples.
    """
    if [row["step"] for row in steps] != list(range(len(steps))):
        return "steps_missing"
    if steps[-1]["kind"] != "stop":
        return "missing_terminal_stop"
    first = steps[0]
    return {
        "schema_version": REFLECTION,
        "trajectory_id": first["sample_id"],
        "manifest_id": snapshot,
        "source_dataset": first["dataset"],
        "source_record_id": first["record_id"],
        "pipeline_variant": "prompt_k_turn",
        "prompt": first["instruction"],
        "images": list(images),
        "steps": [
            {
                "reflection": row["thought"] or "",
                "action": "stop" if row["edit"] is None else "continue",
                "edit": row["edit"] or "",
            }
            for row in steps
        ],
    }
