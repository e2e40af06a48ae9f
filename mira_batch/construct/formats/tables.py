"""Rows of the formats that are Parquet with images inside: TRL's, verl's, and steps for offline learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from mira_batch.construct.formats.words import Asked, Row, name_state
from mira_batch.storage.schema import IMAGE, add_features

_PART = pa.struct([("type", pa.string()), ("text", pa.string())])
_CHAT = pa.list_(pa.struct([("role", pa.string()), ("content", pa.list_(_PART))]))
_PLAIN_CHAT = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_IMAGES = pa.list_(IMAGE)

TRL_SFT = add_features(pa.schema([("prompt", _CHAT), ("completion", _CHAT), ("images", _IMAGES)]))
TRL_DPO = add_features(
    pa.schema([("prompt", _CHAT), ("chosen", _CHAT), ("rejected", _CHAT), ("images", _IMAGES)])
)
TRL_GRPO = add_features(
    pa.schema(
        [
            ("prompt", _CHAT),
            ("images", _IMAGES),
            ("original", pa.string()),  # file of the image as it was given, below the export
            ("instruction", pa.string()),
            ("state_id", pa.string()),
        ]
    )
)
VERL = add_features(
    pa.schema(
        [
            ("data_source", pa.string()),
            ("prompt", _PLAIN_CHAT),
            ("images", _IMAGES),
            ("ability", pa.string()),
            ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
            (
                "extra_info",
                pa.struct(
                    [
                        ("index", pa.int64()),
                        ("split", pa.string()),
                        ("sample_id", pa.string()),
                        ("state_id", pa.string()),
                        ("instruction", pa.string()),
                        ("answer", pa.string()),
                    ]
                ),
            ),
        ]
    )
)
STEPS = add_features(
    pa.schema(
        [
            ("state_id", pa.string()),
            ("sample_id", pa.string()),
            ("kind", pa.string()),
            ("origin", pa.string()),
            ("instruction", pa.string()),
            ("images", _IMAGES),
            ("prompt_version", pa.string()),
            ("answer", pa.string()),
            (
                "reward",
                pa.float64(),
            ),  # the trajectory's score at its stop, 0 before; null where nobody judged
            ("return", pa.float64()),  # what is still to come: its score; null where nobody judged
            ("done", pa.bool_()),
            ("dataset", pa.string()),
            ("record_id", pa.string()),
            ("run", pa.string()),
            ("work_id", pa.string()),
            ("step", pa.int32()),
        ]
    )
)


def make_sft(row: Row, asked: Asked) -> dict[str, Any]:
    """TRL's SFTTrainer: prompt and completion, so that the loss is on the answer alone."""
    return {"prompt": write_chat(asked), "completion": _answer(row["answer"]), "images": hold_images(asked)}


def make_grpo(row: Row, asked: Asked, original: str) -> dict[str, Any]:
    """TRL's GRPOTrainer: the question of a state, without an answer; `original` names a file."""
    return {
        "prompt": write_chat(asked),
        "images": hold_images(asked),
        "original": original,
        "instruction": row["instruction"],
        "state_id": name_state(row),
    }


def make_dpo(row: Row, asked: Asked, rejected: str) -> dict[str, Any]:
    """TRL's DPOTrainer: the better answer of a state, and a worse one."""
    return {
        "prompt": write_chat(asked),
        "chosen": _answer(row["answer"]),
        "rejected": _answer(rejected),
        "images": hold_images(asked),
    }


def make_verl(row: Row, asked: Asked, index: int) -> dict[str, Any]:
    """verl's RLHFDataset: a chat of plain texts with a mark for each image."""
    return {
        "data_source": row["dataset"],
        "prompt": [
            {"role": "system", "content": asked.system},
            {"role": "user", "content": asked.flatten()},
        ],
        "images": hold_images(asked),
        "ability": "image_editing",
        "reward_model": {"style": "rule", "ground_truth": row["edit"] or "stop"},
        "extra_info": {
            "index": index,
            "split": row["split"],
            "sample_id": row["sample_id"],
            "state_id": name_state(row),
            "instruction": row["instruction"],
            "answer": row["answer"],
        },
    }


def make_step(row: Row, asked: Asked, version: str) -> dict[str, Any]:
    """A step for offline learning; `version` of the prompt."""
    done, score = row["kind"] == "stop", row["score"]
    same = {name: row[name] for name in STEPS.names if name in row}
    return same | {
        "state_id": name_state(row),
        "images": hold_images(asked),
        "prompt_version": version,
        "reward": None if score is None else score if done else 0.0,
        "return": score,
        "done": done,
    }


def write_chat(asked: Asked) -> list[dict[str, Any]]:
    """A question as a chat whose user's turn has images where the policy sees them."""
    content = [{"type": "image", "text": None} if part is None else _text(part) for part in asked.parts]
    return [
        {"role": "system", "content": [_text(asked.system)]},
        {"role": "user", "content": content},
    ]


def hold_images(asked: Asked) -> list[Mapping[str, Any]]:
    """Its images as Hugging Face images."""
    return [{"bytes": data, "path": None} for data in asked.images]


def _answer(answer: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": [_text(answer)]}]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
