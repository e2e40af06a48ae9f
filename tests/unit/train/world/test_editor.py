"""The world's own Kontext: the real class, small; what it learns from, what it is measured by, its
pretraining."""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from mira_batch import read_outputs, read_trajectories
from mira_batch.cli import main as mira_batch
from mira_batch.core.errors import ConfigError
from mira_batch.train.world.editor_flow import FlowBatches
from mira_batch.train.world.editor_latents import calibrate, draw_vae_loss, encode_scenes, measure_vae
from mira_batch.train.world.editor_model import WORDS, build_editor, list_words, write_editor
from mira_batch.train.world.editor_pairs import Pair, draw_edit, draw_pair
from mira_batch.train.world.editor_pretrain import pretrain_editor
from mira_batch.train.world.editor_score import (
    EditorScore,
    edit_scenes,
    score_scenes,
)
from mira_batch.train.world.edits import Add, Recolour, Remove, apply_edit, say_edit
from mira_batch.train.world.nearest import UNREADABLE, read_nearest
from mira_batch.train.world.scenes import SMALL, NoScene, Scene, Thing, draw_tiles, render
from mira_batch.train.world.tasks import find_split
from tests.docs.blocks import blocks
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")
RED, BLUE, GREEN = Thing("red", "circle"), Thing("blue", "circle"), Thing("green", "square")


def scene_of(*things: Thing | None) -> Scene:
    """A scene of the small world with these in its first cells."""
    return Scene(3, (*things, *[None] * (9 - len(things))))


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return build_editor()


# Pairs


def test_a_pair_is_an_edit_that_changes_one_cell() -> None:
    rng = random.Random(0)
    pairs = [draw_pair(rng, SMALL, "val") for _ in range(600)]
    for pair in pairs:
        assert find_split(*map(str, pair.source.cells)) == "val"
        assert pair.target == apply_edit(pair.source, pair.edit)
        differ = [cell for cell in range(9) if pair.source.cells[cell] != pair.target.cells[cell]]
        assert differ == [pair.cell]
    kinds = Counter(type(pair.edit) for pair in pairs)
    assert all(150 < kinds[kind] < 250 for kind in (Add, Recolour, Remove))
    assert len({say_edit(pair.edit) for pair in pairs}) > 200


def test_what_cant_be_done_is_not_asked_for() -> None:
    circles = scene_of(*(Thing(colour, "circle") for colour in ("red", "green", "blue", "yellow")))
    kinds = {type(draw_edit(random.Random(seed), circles, SMALL).edit) for seed in range(40)}
    assert kinds == {Add, Remove}


def test_no_scene_of_a_held_out_part_is_learned_from(pipeline: Any) -> None:
    import torch

    batches = FlowBatches(pipeline, random.Random(0), torch.Generator())
    pairs = [pair for _ in range(20) for pair in batches.draw()]
    assert len(pairs) == 640
    shown = {scene for pair in pairs for scene in (pair.source, pair.target)}
    assert {find_split(*map(str, scene.cells)) for scene in shown} == {"train"}


# Reading and scoring


def test_a_cell_shows_the_nearest_object_or_nothing_of_the_world() -> None:
    scene = scene_of(RED, GREEN, None, BLUE)
    assert read_nearest(render(scene)) == scene
    pixels = np.asarray(render(scene), np.float32)
    noise = np.random.default_rng(0).normal(0, 15, pixels.shape)
    drawn = (pixels + noise).clip(0, 255).astype(np.uint8)
    assert read_nearest(Image.fromarray(drawn)) == scene
    tiles = draw_tiles()
    drawn[:16, :16] = (tiles[RED].astype(int) + tiles[BLUE]) // 2
    assert read_nearest(Image.fromarray(drawn)) == scene.put(0, UNREADABLE)
    drawn[:, :] = 128
    assert read_nearest(Image.fromarray(drawn)).cells == (UNREADABLE,) * 9
    for other in (Image.new("RGB", (64, 64)), Image.new("L", (48, 48))):
        with pytest.raises(NoScene, match="a scene is 48 x 48 in RGB"):
            read_nearest(other)


def test_scores_add_up() -> None:
    source = scene_of(RED, GREEN)
    recolour, remove, add = Recolour(RED, "blue"), Remove(GREEN), Add(BLUE, "below", RED)
    pairs = [
        Pair(source, edit, apply_edit(source, edit), cell)
        for edit, cell in ((recolour, 0), (recolour, 0), (remove, 1), (add, 3))
    ]
    seen = [
        pairs[0].target,  # right
        source,  # nothing was done
        scene_of(UNREADABLE, None),  # done, and another cell spoilt
        source.put(3, UNREADABLE),  # spoilt where it should change
    ]
    assert score_scenes(pairs, seen) == EditorScore(
        pairs=4,
        success=0.25,
        by_kind={"Add": 0.0, "Recolour": 0.5, "Remove": 0.0},
        made=0.5,
        collateral=1 / 32,
        unreadable=2 / 36,
    )


# The pipeline


def test_each_word_is_one_token_and_every_edit_has_room(pipeline: Any) -> None:
    assert len(list_words()) == 20
    rng = random.Random(0)
    longest = "add a yellow triangle right of the green triangle"
    for text in (longest, *(say_edit(draw_pair(rng, SMALL, "train").edit) for _ in range(50))):
        words = text.split()
        assert [token.strip("▁") for token in pipeline.tokenizer_2.tokenize(text)] == words
        assert [token.removesuffix("</w>") for token in pipeline.tokenizer.tokenize(text)] == words
        for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2):
            assert len(tokenizer(text)["input_ids"]) <= WORDS


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        write_editor(tmp_path / name, seed)
    assert digest(tmp_path / "one") == digest(tmp_path / "two") != digest(tmp_path / "other")
    with pytest.raises(ConfigError, match="is there already"):
        write_editor(tmp_path / "one")


def test_it_learns_from_the_very_inputs_that_the_pipeline_gives(pipeline: Any) -> None:
    """Source latents, positions, texts and time, by a hook on the transformer itself."""
    import torch

    calibrate(pipeline.vae, 0)
    rng = random.Random(3)
    pairs = [draw_pair(rng, SMALL, "val") for _ in range(3)]
    called: list[dict[str, Any]] = []
    hook = pipeline.transformer.register_forward_pre_hook(
        lambda _, __, given: called.append(given), with_kwargs=True
    )
    try:
        edit_scenes(pipeline, pairs, steps=1, seed=0)
        FlowBatches(pipeline, rng, torch.Generator().manual_seed(0)).find_loss(pairs)
    finally:
        hook.remove()
    asked, learned = called
    same = ("pooled_projections", "encoder_hidden_states", "txt_ids", "img_ids")
    assert all(torch.allclose(asked[name], learned[name], atol=1e-5) for name in same)
    sources = encode_scenes(pipeline, [pair.source for pair in pairs])
    assert torch.allclose(asked["hidden_states"][:, 9:], sources, atol=1e-5)
    assert torch.allclose(learned["hidden_states"][:, 9:], sources, atol=1e-5)
    assert asked["timestep"].tolist() == [1.0] * 3 and (learned["timestep"] < 1).all()


def test_latents_are_calibrated(pipeline: Any) -> None:
    calibrate(pipeline.vae, 0)
    rng = random.Random(5)
    tokens = encode_scenes(pipeline, [draw_pair(rng, SMALL, "val").source for _ in range(64)])
    assert tokens.shape == (64, 9, 32)
    assert abs(tokens.mean()) < 0.1 and 0.9 < tokens.std() < 1.1


def test_both_parts_learn() -> None:
    """Some steps of each, from its first weights, with the losses that pretraining descends."""
    import torch

    pipeline = build_editor(1)
    rng, generator = random.Random(0), torch.Generator().manual_seed(0)

    def learn(weights: Any, rate: float, steps: int, find_loss: Any) -> tuple[float, float]:
        optimizer = torch.optim.AdamW(weights, lr=rate)
        losses = []
        for _ in range(steps):
            loss = find_loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses[0], sum(losses[-3:]) / 3

    vae = pipeline.vae
    first, last = learn(vae.parameters(), 4e-3, 20, lambda: draw_vae_loss(vae, rng, generator))
    assert last < 0.7 * first
    assert 0 <= measure_vae(vae, count=4) <= 1
    calibrate(vae, 0)
    batches = FlowBatches(pipeline, rng, generator)
    first, last = learn(
        pipeline.transformer.parameters(), 1e-3, 12, lambda: batches.find_loss(batches.draw())
    )
    assert last < 0.85 * first


# Through the project's own editor


def test_it_edits_as_any_editor_of_a_run(tmp_path: Path, pipeline: Any) -> None:
    """What a run's `diffusers` editor makes, set as docs/learning.md says, is what `edit_scenes` makes, pixel
    for pixel."""
    calibrate(pipeline.vae, 0)
    pipeline.save_pretrained(tmp_path / "editor", safe_serialization=True)
    pair = draw_pair(random.Random(0), SMALL, "test")
    render(pair.source).save(tmp_path / "scene.png")
    row = {"record_id": "one", "image": "scene.png", "instruction": say_edit(pair.edit)}
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    (shown,) = [
        yaml.safe_load(b.text) for b in blocks("docs/learning.md") if "weights: out/world-ed" in b.text
    ]
    editor = shown["editor"] | {"weights": str(tmp_path / "editor")}
    assert editor["options"]["max_sequence_length"] == WORDS
    sets = [
        f"input.manifest={tmp_path / 'test.jsonl'}",
        f"output.uri={tmp_path / 'out'}",
        "policy={type: passthrough}",
        f"editor={json.dumps(editor)}",
        "judge=null",
    ]
    command = ["run", "-c", str(ROOT / "configs" / "world-expert.yaml")]
    assert mira_batch([*command, *(part for one in sets for part in ("--set", one))]) == 0
    (about,) = (tmp_path / "out").glob("*/run.json")
    (done,) = read_outputs(str(about.parent)).to_pylist()
    assert done["status"] == "ok"
    (step,) = read_trajectories(str(about.parent), images=False).to_pylist()
    (expected,) = edit_scenes(pipeline, [pair], steps=4, seed=step["seed"])
    image = Image.open(io.BytesIO(done["image"]["bytes"]))
    assert image.size == (48, 48) and (np.asarray(image) == np.asarray(expected)).all()


# Pretraining

SCRIPT = """
import functools, os, signal, sys
from pathlib import Path
import torch
from mira_batch.models.torch_support import prepare
prepare()
import diffusers, transformers
from mira_batch.train.world import editor_pretrain
from mira_batch.train.world.checkpoint import Checkpoint

torch.set_num_threads(1)
editor_pretrain._KEPT = 2
write, place, say = Checkpoint.write, Path(sys.argv[1]), functools.partial(print, flush=True)


def run(name, last):
    # A process of its own, which is killed after its checkpoint of that number; None: not at all.
    count = 0

    def write_and_die(self, state):
        nonlocal count
        write(self, state)
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        Checkpoint.write = write_and_die
        editor_pretrain.pretrain_editor(place / name, steps=3, vae_steps=3, note=say)
        os._exit(0)
    say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), sorted(each.name for each in place.iterdir()))


place.mkdir()
run("whole", None)
run("killed", 1)   # in the VAE
run("killed", 1)   # in the edits
run("killed", None)
"""


def test_a_killed_pretraining_is_gone_on_with_to_the_same_bytes(tmp_path: Path) -> None:
    place = tmp_path / "new"
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(place)], capture_output=True, text=True)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    told = [line for line in done.stdout.splitlines() if "loss" not in line and "gives back" not in line]
    assert told == [
        "0 ['whole']",
        "-9 ['killed.checkpoint.pt', 'whole']",
        "vae: 2 steps are made; on from there",
        "-9 ['killed.checkpoint.pt', 'whole']",
        "edits: 2 steps are made; on from there",
        "0 ['killed', 'whole']",
    ]
    assert digest(place / "killed") == digest(place / "whole")


def test_pretraining_takes_a_step_of_each_and_a_vacant_place(tmp_path: Path) -> None:
    for steps, vae_steps in ((0, 5), (5, 0)):
        with pytest.raises(ConfigError, match=f"1 step at least .* not {vae_steps} and {steps}"):
            pretrain_editor(tmp_path / "new", steps=steps, vae_steps=vae_steps)
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="is there already"):
        pretrain_editor(tmp_path, steps=1, vae_steps=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def digest(directory: Path) -> str:
    """Of everything in a directory."""
    sums = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            sums.update(f"{path.relative_to(directory)}".encode() + path.read_bytes())
    return sums.hexdigest()
