"""Small data sets in the form in which the owners of benchmarks publish theirs, made here."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from PIL import Image

from mira_batch.evaluate.benchmarks.gedit import GROUPS
from mira_batch.evaluate.benchmarks.imgedit import TYPES
from mira_batch.evaluate.benchmarks.pairs import EDITSCORE_DIMENSIONS, EDITSCORE_TYPES

EDITS = ("make it sepia", "rotate it by 180 degrees", "invert the colors", "mirror it")
"""Instructions that the embedded models carry out."""
UNCLEAR = "frobnicate the gizmo"
"""One that they don't understand, so that its edit fails."""


def picture(number: int, size: tuple[int, int] = (24, 16)) -> Image.Image:
    """An image that no other number has, and that no edit leaves as it is."""
    image = Image.new("RGB", size, (number * 37 % 256, number * 91 % 256, 200))
    image.paste((250, 10, number % 256), (0, 0, size[0] // 3, size[1] // 2))
    return image


def encode(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def gedit_rows(per_group: int = 1) -> list[dict[str, Any]]:
    """So many items of each group in each language. The first of each group is outside the intersection."""
    rows = []
    for number in range(len(GROUPS) * 2 * per_group):
        group, language = GROUPS[number % len(GROUPS)], ("en", "cn")[number // len(GROUPS) % 2]
        source = picture(number)
        rows.append(
            {
                "key": f"k{number:03d}",
                "task_type": group,
                "instruction": EDITS[number % len(EDITS)],
                "instruction_language": language,
                "input_image": source,
                "input_image_raw": source.resize((48, 32)),
                "Intersection_exist": number >= 2 * len(GROUPS),
            }
        )
    return rows


def save_gedit(folder: Path, rows: Sequence[dict[str, Any]], form: str = "disk") -> Path:
    """As `save_to_disk` writes it (disk; splits: with its split), or as it lies on the hub (parquet)."""
    from datasets import Dataset, DatasetDict, Features, Value
    from datasets import Image as ImageFeature

    texts = ("task_type", "key", "instruction", "instruction_language")
    features = Features(
        {name: Value("string") for name in texts}
        | {
            "input_image": ImageFeature(),
            "input_image_raw": ImageFeature(),
            "Intersection_exist": Value("bool"),
        }
    )
    return save_rows(folder, Dataset.from_list(list(rows), features=features), form, DatasetDict)


def save_rows(folder: Path, data: Any, form: str, splits: Any) -> Path:
    match form:
        case "disk":
            data.save_to_disk(str(folder), num_shards=2)
        case "splits":
            splits({"train": data}).save_to_disk(str(folder), num_shards={"train": 2})
        case "parquet":
            (folder / "data").mkdir(parents=True)
            for shard in range(2):
                name = f"train-0000{shard}-of-00002.parquet"
                data.shard(2, shard, contiguous=True).to_parquet(str(folder / "data" / name))
    return folder


def save_imgedit(folder: Path, per_type: int = 1, name: str = "singleturn.json") -> Path:
    """The JSON file, and the images beside it; two types share an image."""
    found = {}
    for number in range(len(TYPES) * per_type):
        kind = list(TYPES)[number % len(TYPES)]
        image = f"animal/{number // 2:09d}.jpg"
        path = folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture(number // 2), "JPEG"))
        instruction = EDITS[number % len(EDITS)]
        found[str(1000 + number)] = {"id": image, "prompt": instruction, "edit_type": kind}
    (folder / name).write_text(json.dumps(found))
    return folder


def save_magicbrush(folder: Path, turns: Sequence[int] = (1, 2, 3), captions: bool = True) -> Path:
    """The test archive: a session for each number of turns. What people accepted is the edit itself."""
    edit = {EDITS[1]: lambda image: image.rotate(180), EDITS[3]: lambda image: image.transpose(0)}
    sessions: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for number, count in enumerate(turns):
        session = str(100 + number)
        below = folder / "images" / session
        below.mkdir(parents=True)
        image, name, entries, words = picture(number), f"{session}-input.png", [], {}
        image.save(below / name)
        for turn in range(1, count + 1):
            instruction = EDITS[1] if turn % 2 else EDITS[3]
            image = edit[instruction](image)
            accepted = f"{session}-output{turn}.png"
            image.save(below / accepted)
            mask = f"{session}-mask{turn}.png"
            entries.append({"input": name, "mask": mask, "output": accepted, "instruction": instruction})
            name, words[accepted] = accepted, f"a picture of {number} after {turn}"
        sessions[session], said[session] = entries, words
    (folder / "edit_sessions.json").write_text(json.dumps(sessions))
    (folder / "edit_turns.json").write_text(json.dumps([e for entries in sessions.values() for e in entries]))
    if captions:
        (folder / "local_descriptions.json").write_text(json.dumps(said))
    return folder


def save_magicbrush_rows(folder: Path, sessions: Mapping[int, Sequence[int]]) -> Path:
    """A split as it lies on the hub: Parquet with images. Given are the numbers of each session's turns."""
    from datasets import Dataset, DatasetDict, Features, Value
    from datasets import Image as ImageFeature

    rows = [
        {
            "img_id": str(session),
            "turn_index": turn,
            "source_img": picture(10 * session + turn),
            "mask_img": picture(0),
            "instruction": EDITS[0],
            "target_img": picture(10 * session + turn + 1),
        }
        for session, turns in sessions.items()
        for turn in turns
    ]
    features = Features(
        {name: ImageFeature() for name in ("source_img", "mask_img", "target_img")}
        | {"img_id": Value("string"), "turn_index": Value("int32"), "instruction": Value("string")}
    )
    return save_rows(folder, Dataset.from_list(rows, features=features), "parquet", DatasetDict)


def editscore_rows() -> list[dict[str, Any]]:
    """A pair of each type on each dimension. The two edits are the same ones on all three."""
    return [
        {
            "key": [f"{kind}-good", f"{kind}-bad"],
            "task_type": kind,
            "dimension": dimension,
            "instruction": EDITS[number % len(EDITS)],
            "input_image": picture(number),
            "output_images": [picture(100 + number), picture(200 + number)],
        }
        for dimension in EDITSCORE_DIMENSIONS
        for number, kind in enumerate(EDITSCORE_TYPES)
    ]


def save_editscore(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    from datasets import Dataset, DatasetDict, Features, List, Value
    from datasets import Image as ImageFeature

    features = Features(
        {name: Value("string") for name in ("task_type", "dimension", "instruction")}
        | {"key": List(Value("string")), "input_image": ImageFeature(), "output_images": List(ImageFeature())}
    )
    return save_rows(folder, Dataset.from_list(list(rows), features=features), "parquet", DatasetDict)


def tiger_rows() -> list[dict[str, Any]]:
    """A group of two, of three and of four edits, and one of two that people see no difference between. The
    earlier letter is the better edit."""
    rows = []
    for number, (kind, tie) in enumerate(
        (("2pair", ""), ("2pair", "A=B=Good"), ("3pair", ""), ("4pair", ""))
    ):
        letters = "ABCD"[: int(kind[0])]
        for first, second in combinations(letters, 2):
            rows.append(
                {
                    "id": f"g{number}_{first}{second}",
                    "dataset": kind,
                    "comparison_type": f"{first}vs{second}",
                    "instruction": EDITS[0],
                    "source_image": picture(number),
                    "candidate_1": picture(100 * (number + 1) + ord(first)),
                    "candidate_2": picture(100 * (number + 1) + ord(second)),
                    "ranking": tie or f"{first}>{second}",
                }
            )
    return rows


def save_tiger(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    from datasets import Dataset, DatasetDict, Features, Value
    from datasets import Image as ImageFeature

    images = ("source_image", "candidate_1", "candidate_2")
    features = Features({n: ImageFeature() if n in images else Value("string") for n in rows[0]})
    return save_rows(folder, Dataset.from_list(list(rows), features=features), "parquet", DatasetDict)


def save_compass(folder: Path) -> Path:
    """The JSON list, and the images beside it: a preference and a tie on each dimension."""
    folder.mkdir(parents=True)
    rows = []
    for number, (dimension, label) in enumerate(
        (d, label) for d in ("IA", "VC", "VQ") for label in ("preference", "tie")
    ):
        names = {"source_image": f"s{number}.png", "winner": f"w{number}.png", "loser": f"l{number}.png"}
        for shift, name in enumerate(names.values()):
            picture(number + 50 * shift).save(folder / name)
        rows.append({"dimension": dimension, "prompt": EDITS[0], "label": label, **names})
    (folder / "reward_eval.json").write_text(json.dumps(rows))
    return folder / "reward_eval.json"
