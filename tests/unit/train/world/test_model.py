"""The world's own Qwen2.5-VL: the real class, small, with a token for each word; and its pretraining."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mira_batch import read_outputs
from mira_batch.cli import main as mira_batch
from mira_batch.core.actions import format_action, parse_action
from mira_batch.core.errors import ConfigError
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.types import Edit, MalformedAction, StopAction
from mira_batch.models.qwen import check_qwen_files
from mira_batch.train.world.captions import ASK
from mira_batch.train.world.edits import apply_edit, say_edit
from mira_batch.train.world.encode import Encoder
from mira_batch.train.world.expert import find_next
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.model import write_base
from mira_batch.train.world.pretrain import Pretrained, pretrain_base
from mira_batch.train.world.scenes import render
from mira_batch.train.world.tasks import generate_tasks
from tests.support import ROOT
from tests.support.models.tiny import a_step, policy_of
from tests.unit.train.world.strategies import frame

pytestmark = pytest.mark.usefixtures("one_thread")
TASKS = [*generate_tasks("test", 40)]
SHORT = {"prompt": {"form": "short"}, "sampling": {"max_tokens": 24}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world") / "base"
    write_base(directory)
    return directory


def digest(directory: Path) -> str:
    return hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()


def test_it_is_whole_and_small(base: Path) -> None:
    check_qwen_files(str(base))
    policy = policy_of(base, **SHORT)
    assert type(policy.model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert 1_000_000 < sum(weight.numel() for weight in policy.model.parameters()) < 1_500_000
    text = policy.model.model.language_model.layers[0].mlp.up_proj.weight
    assert 0.055 < text.std().item() < 0.065
    assert 300 < len(policy.processor.tokenizer) < 600


def test_the_same_seed_gives_the_same_weights(base: Path, tmp_path: Path) -> None:
    write_base(tmp_path / "same")
    write_base(tmp_path / "other", seed=1)
    assert digest(tmp_path / "same") == digest(base) != digest(tmp_path / "other")
    with pytest.raises(ConfigError, match="is there already"):
        write_base(tmp_path / "same")


def test_it_is_asked_as_any_policy_and_answers_nonsense(base: Path) -> None:
    policy = policy_of(base, **SHORT)
    start = frame(TASKS[0].scene)
    after = frame(TASKS[0].goal.target)
    requests = [
        PolicyRequest("r", TASKS[0].instruction, start, start, (), 1),
        PolicyRequest("r", TASKS[0].instruction, start, after, (a_step(0, start, after),), 1),
    ]
    answers = policy.propose(requests)
    assert all(isinstance(parse_action(str(answer)), MalformedAction) for answer in answers)


def test_it_goes_through_the_real_loop(base: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "test.parquet", TASKS[:2])
    policy = {"type": "qwen_vl", "weights": str(base), "dtype": "float32", "devices": ["cpu"], **SHORT}
    sets = [
        f"input.manifest={tmp_path / 'test.parquet'}",
        f"output.uri={tmp_path / 'out'}",
        f"policy={json.dumps(policy)}",
        "judge=null",
    ]
    command = ["run", "-c", str(ROOT / "configs" / "world-expert.yaml")]
    assert mira_batch([*command, *(part for one in sets for part in ("--set", one))]) == 1
    (about,) = (tmp_path / "out").glob("*/run.json")
    rows = read_outputs(str(about.parent), ["status", "error_kind"]).to_pylist()
    assert rows == [{"status": "failed", "error_kind": "malformed_action"}] * 2
    models = json.loads((about.parent / "models.json").read_text())
    assert " mira-short/1 " in json.dumps(models)


def test_a_cell_is_one_token_and_each_word_is_one(base: Path) -> None:
    policy = policy_of(base, **SHORT)
    tokenizer = policy.processor.tokenizer
    for task in TASKS:
        scene, steps, start = task.scene, [], frame(task.scene)
        for number in range(len(task.kinds) + 1):
            request = PolicyRequest("r", task.instruction, start, frame(scene), tuple(steps), 1)
            row = policy.encode(request)
            assert not isinstance(row, Exception)
            shown = int((row["input_ids"] == tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum())
            assert shown == (18 if number else 9)
            step = find_next(task.goal, scene)
            action = (
                Edit(say_edit(step.edit), step.thought) if step.edit else StopAction("done", step.thought)
            )
            for text in (policy.write_prompt(request), format_action(action)):
                plain = re.sub(r"<\|\w+\|>", "", text)
                words = re.findall(r"[^\w\n]?[a-z]+", plain, re.IGNORECASE)
                said = tokenizer.convert_ids_to_tokens(tokenizer(plain)["input_ids"])
                assert sum(bool(re.search("[a-z]", token, re.IGNORECASE)) for token in said) == len(words)
            if step.edit is None:
                break
            before, scene = scene, apply_edit(scene, step.edit)
            steps.append(a_step(number, frame(before), frame(scene), say_edit(step.edit)))


def test_captions_are_asked_for_in_the_form_of_a_policy(base: Path) -> None:
    """Token for token and pixel for pixel as the real processor makes them."""
    policy = policy_of(base, **SHORT)
    encoder = Encoder(policy.processor)
    one, two = TASKS[0].scene, TASKS[1].scene
    for shown in ([one], [one, two]):
        row = policy.encode(PolicyRequest("r", ASK, frame(shown[0]), frame(shown[-1]), (), 1))
        assert not isinstance(row, Exception)
        batch = encoder.encode([shown], [ASK], None)
        assert batch.keys() == row.keys()
        for name, value in row.items():
            assert value.shape == batch[name].shape and (value == batch[name]).all(), name
    assert render(one).size == (48, 48)


def test_only_the_caption_is_learned(base: Path) -> None:
    encoder = Encoder(policy_of(base, **SHORT).processor)
    scenes = [task.scene for task in TASKS[:3]]
    shown, asked = [[scenes[0]], [scenes[1], scenes[2]]], [ASK, "look the red circle"]
    batch = encoder.encode(shown, asked, ["red circle", "red circle is there"])
    tokenizer = encoder.tokenizer
    for row, words in zip(batch["labels"], ("red circle", "red circle is there"), strict=True):
        assert tokenizer.decode(row[row >= 0]) == f"{words}<|im_end|>"
    assert batch["attention_mask"].sum(1).tolist() == [37 + 3, 48 + 3 + 5]
    assert "<instruction>look the red circle</instruction>" in tokenizer.decode(batch["input_ids"][1])


# Pretraining


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pretrained]:
    directory = tmp_path_factory.mktemp("world") / "pretrained"
    return directory, pretrain_base(directory, steps=16)


def test_pretraining_learns_and_writes_a_whole_model(base: Path, pretrained: tuple[Path, Pretrained]) -> None:
    directory, told = pretrained
    check_qwen_files(str(directory))
    assert told.steps == 16 and told.alignment < 40 and told.loss < 5.2  # from 47 and 6.1
    assert 0 <= told.captions.neighbours <= 1 and 0 <= told.captions.objects <= 1
    assert digest(directory) != digest(base)
    assert [path.name for path in directory.parent.iterdir()] == ["pretrained"]


def test_pretraining_takes_two_steps_and_a_vacant_place(tmp_path: Path) -> None:
    for steps in (1, 0, -1):
        with pytest.raises(ConfigError, match="2 steps at least"):
            pretrain_base(tmp_path / "new", steps=steps)
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="is there already"):
        pretrain_base(tmp_path, steps=2)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


KILLED = """
import os, sys, signal
from pathlib import Path
import torch
from mira_batch.train.world import pretrain
from mira_batch.train.world.checkpoint import Checkpoint

torch.set_num_threads(1)
pretrain._KEPT = 16
write = Checkpoint.write


def write_and_die(self, state):
    write(self, state)
    os.kill(os.getpid(), signal.SIGKILL)


if sys.argv[2] == "die":
    Checkpoint.write = write_and_die
pretrain.pretrain_base(Path(sys.argv[1]), steps=38, note=print)
"""


def test_a_killed_pretraining_is_gone_on_with_to_the_same_bytes(tmp_path: Path) -> None:
    tmp_path /= "new"  # a folder that isn't there yet

    def pretrain(name: str, how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(tmp_path / name), how]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert pretrain("whole", "live").returncode == 0
    assert pretrain("killed", "die").returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.glob("killed*")] == ["killed.checkpoint.pt"]
    with pytest.raises(ConfigError, match="is of a pretraining with .*'steps': 38.* delete it"):
        pretrain_base(tmp_path / "killed", steps=35)
    second = pretrain("killed", "die")
    assert second.returncode == -signal.SIGKILL and "16 steps of questions are made" in second.stdout
    last = pretrain("killed", "live")
    assert last.returncode == 0 and "32 steps of questions are made" in last.stdout
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "killed"}


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "base.checkpoint.pt").write_bytes(b"half a fi")
    with pytest.raises(ConfigError, match=r"base\.checkpoint\.pt can't be read as a checkpoint .*delete it"):
        pretrain_base(tmp_path / "base", steps=2)
