"""Samples in the formats of trainers, read back: by TRL and `datasets`, the others by their schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mira_batch.cli import main
from mira_batch.config.shared import StorageConfig
from mira_batch.construct.formats import FORMATS, export_samples
from mira_batch.construct.run import construct
from mira_batch.core.actions import parse_action
from mira_batch.core.errors import ConfigError, RunConflict
from mira_batch.core.prompt import prompt_version
from mira_batch.core.types import MalformedAction
from tests.support.runs.astray import configure_construct, edit_astray, read_samples

STORAGE = StorageConfig()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of a run with scores."""
    folder = tmp_path_factory.mktemp("samples")
    run = edit_astray(folder)
    construct(configure_construct(run, folder / "data", source={"scores": "run", "name": "set"}))
    return folder / "data"


def export(samples: Path, to: Path, form: str, **more: Any) -> dict[str, Any]:
    return export_samples(str(samples), str(to), form, STORAGE, **more)


def load(to: Path, split: str = "train") -> Any:
    import datasets

    files = str(to / f"{split}-*.parquet")
    return datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(to / "cache"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")  # TRL's default
def test_trl_trains_on_its_own_format(
    samples: Path, tmp_path: Path, tiny_models: Path, one_thread: None
) -> None:
    """One batch as SFTTrainer makes it: the loss is on the answers alone, and every image is there."""
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration
    from trl import SFTConfig, SFTTrainer
    from trl.data_utils import is_conversational

    about = export(samples, tmp_path / "x", "trl-sft", prompt="short")
    assert about["prompt_version"] == prompt_version("short")
    rows = load(tmp_path / "x")
    assert is_conversational(rows[0]) and isinstance(rows[0]["images"][0], Image.Image)
    processor = AutoProcessor.from_pretrained(tiny_models / "qwen2.5-vl")
    trainer = SFTTrainer(
        model=Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny_models / "qwen2.5-vl"),
        args=SFTConfig(
            output_dir=str(tmp_path / "out"),
            max_length=None,
            use_cpu=True,
            bf16=False,
            report_to=[],
            per_device_train_batch_size=len(rows),
        ),  # fmt: skip
        train_dataset=rows,
        processing_class=processor,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    assert len(batch["image_grid_thw"]) == sum(len(row["images"]) for row in rows)
    answers = set()
    for labels in batch["labels"]:
        learned = processor.tokenizer.decode(labels[labels != -100], skip_special_tokens=True)
        answers.add(learned.strip())
    wanted = {row["answer"].strip() for row in read_samples(samples) if row["split"] == "train"}
    assert answers == wanted


def test_trl_grpo_and_steps_are_chats_with_images(samples: Path, tmp_path: Path) -> None:
    from trl.data_utils import is_conversational

    export(samples, tmp_path / "g", "trl-grpo")
    rows = load(tmp_path / "g")
    assert all(is_conversational(row) for row in rows)
    assert len(set(rows["state_id"])) == len(rows)
    for row in rows:
        shown = sum(part["type"] == "image" for turn in row["prompt"] for part in turn["content"])
        assert shown == len(row["images"]) and (tmp_path / "g" / row["original"]).is_file()
    export(samples, tmp_path / "s", "steps")
    steps = load(tmp_path / "s")
    assert {row["reward"] for row in steps if not row["done"]} == {0.0}
    assert all(row["reward"] == row["return"] for row in steps if row["done"])


def test_pairs_are_answers_of_unequal_worth_in_one_state(samples: Path, tmp_path: Path) -> None:
    from trl.data_utils import is_conversational

    about = export(samples, tmp_path / "x", "trl-dpo")
    (split,) = about["rows"]
    (row,) = load(tmp_path / "x", split)
    assert is_conversational(row)
    (chosen,), (rejected,) = row["chosen"][0]["content"], row["rejected"][0]["content"]
    assert "make it sepia" in chosen["text"] and "rotate it" in rejected["text"]
    assert about["counts"] == {"samples": about["counts"]["samples"], "rows": 1} | {
        "dropped.no_pair": about["counts"]["samples"] - 1
    }
    with pytest.raises(ConfigError, match="several rollouts of a record"):
        export(samples, tmp_path / "y", "trl-dpo", margin=0.95)


def test_verl_rows_have_its_columns(samples: Path, tmp_path: Path) -> None:
    export(samples, tmp_path / "x", "verl")
    for row in load(tmp_path / "x"):
        assert set(row) == {"data_source", "prompt", "images", "ability", "reward_model", "extra_info"}
        assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
        assert row["prompt"][1]["content"].count("<image>") == len(row["images"])
        assert set(row["reward_model"]) == {"style", "ground_truth"}


@pytest.mark.parametrize("form", ["llamafactory", "ms-swift"])
def test_messages_name_their_images(samples: Path, tmp_path: Path, form: str) -> None:
    import datasets

    about = export(samples, tmp_path, form)
    lines = read_lines(tmp_path / "train.jsonl")
    assert len(lines) == about["rows"]["train"]
    for line in lines:
        assert [turn["role"] for turn in line["messages"]] == ["system", "user", "assistant"]
        assert line["messages"][1]["content"].count("<image>") == len(line["images"])
        assert not isinstance(parse_action(line["messages"][2]["content"]), MalformedAction)
        for name in line["images"]:
            Image.open(tmp_path / name).verify()
    found = datasets.load_dataset(
        "json", data_files=str(tmp_path / "train.jsonl"), cache_dir=str(tmp_path / "c")
    )
    assert found["train"].num_rows == len(lines)
    if form == "llamafactory":
        info = json.loads((tmp_path / "dataset_info.json").read_text())
        assert info["mira_train"]["file_name"] == "train.jsonl"
        assert info["mira_train"]["formatting"] == "sharegpt"


def test_whole_trajectories_are_visual_reflection_v1(samples: Path, tmp_path: Path) -> None:
    import hashlib

    about = export(samples, tmp_path, "verl-omni")
    counts = about["counts"]
    assert counts["trajectories"] == counts["rows"] + counts["dropped.steps_missing"]
    lines = [line for path in tmp_path.glob("*.jsonl") for line in read_lines(path)]
    for line in lines:
        actions = [step["action"] for step in line["steps"]]
        assert actions == ["continue"] * (len(actions) - 1) + ["stop"]
        assert all(bool(step["edit"]) == (step["action"] == "continue") for step in line["steps"])
        assert len(line["images"]) == len(line["steps"])
        for image in line["images"]:
            assert hashlib.sha256((tmp_path / image["uri"]).read_bytes()).hexdigest() == image["sha256"]


def test_atomic_edits_for_training_editors(samples: Path, tmp_path: Path) -> None:
    about = export(samples, tmp_path, "edit-r1")
    lines = [line for path in tmp_path.glob("*_metadata.jsonl") for line in read_lines(path)]
    edits = [row for row in read_samples(samples) if row["edit"]]
    assert sorted(line["prompt"] for line in lines) == sorted(row["edit"] for row in edits)
    assert about["counts"]["samples"] == len(lines) + about["counts"]["dropped.stop"]
    assert all((tmp_path / line["image"]).is_file() for line in lines)


def test_an_export_is_made_once_and_not_over_another(
    samples: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["export-samples", str(samples), "--to", str(tmp_path / "x"), "--format"]
    assert main([*words, "trl-sft", "--json"]) == 0
    first = json.loads(capfd.readouterr().out)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "x").rglob("*")}
    assert main([*words, "trl-sft", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == first
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "x").rglob("*")}
    with pytest.raises(RunConflict, match="holds another export"):
        export(samples, tmp_path / "x", "trl-sft", prompt="short")
    assert main([*words, "steps", "--margin", "0.1"]) == 2
    assert first["format"] in FORMATS and first["licences"][0]["licence"] == "CC0-1.0"


def test_samples_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    with pytest.raises(ConfigError, match="holds no samples that are whole"):
        export(tmp_path, tmp_path / "x", "steps")
