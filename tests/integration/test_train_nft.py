"""An editor learns by its own samples, inline: real runs of the edit and the evaluate job with a tiny
FluxKontextPipeline, real updates, and processes that are really killed."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors import safe_open

from mira_batch import read_trajectories
from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.load import load_own_config
from mira_batch.config.models.base import AdapterConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RunConflict, UserError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest
from mira_batch.core.types import Weights
from mira_batch.models.diffusion.editor import DiffusersEditor
from mira_batch.storage.stores import open_store
from mira_batch.train.editor.learner import NoiseSource
from mira_batch.train.flywheel.promote import read_training
from mira_batch.train.nft.encode import encode_samples
from mira_batch.train.nft.learner import NftLearner
from mira_batch.train.nft.record import WEIGHTS, Iteration
from mira_batch.train.nft.update import SampleBatches, find_taught
from tests.support.runs.disturbed import CLI, until
from tests.support.runs.drivers import Begin
from tests.support.runs.nft import JUDGE, RECORDS, SAMPLES, nft_settings, read_adapters, teach, write_records

pytestmark = pytest.mark.usefixtures("one_thread")
KONTEXT = "FluxKontextPipeline"
GREENER = JUDGE | {"options": {"more": 1}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Holds records, others that are held out, and in `out` a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("nft")
    write_records(folder / "train", 4)
    write_records(folder / "val", 2, seed=1)
    return folder


@pytest.fixture(scope="module")
def given(folder: Path, folders: dict[str, Path]) -> dict[str, Any]:
    """Settings of that training."""
    return nft_settings(
        folders[KONTEXT],
        folder / "train" / "records.jsonl",
        folder / "out",
        sentinel={"judge": GREENER},
        validation={
            "input": {"manifest": str(folder / "val" / "records.jsonl")},
            "every": 2,
            "steps": 3,
        },
    )


@pytest.fixture(scope="module")
def learned(folder: Path, given: dict[str, Any]) -> Path:
    teach(given)
    return folder / "out"


@pytest.fixture
def vacated(learned: Path) -> Iterator[Path]:
    """The place of that training, free for another: where a training is decides what is drawn in it. The
    training itself lies in `alone` beside it."""
    alone = learned.rename(learned.with_name("alone"))
    yield learned
    shutil.rmtree(learned)
    alone.rename(learned)


def read_lines(output: Path, of: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["of"] == of]


def test_what_a_training_leaves(learned: Path) -> None:
    lines = read_lines(learned, "iteration")
    assert [line["iteration"] for line in lines] == [1, 2]
    for number, line in enumerate(lines):
        assert line["samples"] == line["rewarded"] == line["used"] == RECORDS * SAMPLES
        assert (
            line["steps"] == 3 * RECORDS * SAMPLES // 6 and line["groups_used"] == line["groups"] == RECORDS
        )
        assert line["sight"] > 0 and line["diversity"] > 0 and line["sharpness"] > 0
        assert line["sentinel_judged"] == line["samples"]
        assert line["seconds"].keys() >= {"samples", "rewards"}
        assert all(0 <= seconds < 3600 for seconds in line["seconds"].values())
        files = learned / "iterations" / f"{number:06d}"
        rewards = pq.read_table(files / "rewards.parquet").to_pylist()
        assert len({(row["record_id"], row["rollout"]) for row in rewards}) == line["samples"]
        for group in {row["group"] for row in rewards}:
            rows = sorted((r for r in rewards if r["group"] == group), key=lambda row: row["reward"])
            assert len({row["reward"] for row in rows}) == SAMPLES  # each has a seed of its own
            values = [row["optimality"] for row in rows]
            assert 0 <= values[0] < 0.5 < values[-1] <= 1 and values == sorted(values)
        assert not list(files.glob("encoded/**/*.safetensors"))
    # After the first iteration the policy that samples is the one that learns; then it keeps a little.
    assert lines[0]["retention"] == 0 and lines[1]["retention"] == 0.001
    first, second = ({k: v for k, v in read_adapters(learned).items() if f"/{n:06d}/" in k} for n in (0, 1))
    read = {Path(k).parent.name: v for k, v in first.items() if k.endswith(WEIGHTS)}
    assert read["trained"] == read["sampling"] != read["lora"]
    assert len(set(second.values())) == 4
    assert (learned / "lora" / WEIGHTS).read_bytes() in {
        v for k, v in read_adapters(learned).items() if "/lora/" in k
    }
    with safe_open(learned / "lora" / WEIGHTS, "pt") as file:
        said = json.loads(file.metadata()["lora_adapter_metadata"])
    assert (said["transformer.r"], said["transformer.lora_alpha"]) == (4, 8)
    card = (learned / "README.md").read_text()
    assert f"- weights: {learned}/lora" in card and "guidance: 1" in card and "## Held-out records" in card
    assert not (learned / "lease.json").exists()


def test_held_out_images_are_judged_by_both_judges(learned: Path) -> None:
    before, after = read_lines(learned, "validation")
    assert (before["iteration"], after["iteration"], after["records"]) == (0, 2, 2)
    assert after["reward_judged"] == after["sentinel_judged"] == 2
    assert after["score"] == after["sentinel_mean"] != after["reward_mean"] != before["reward_mean"]


def test_the_editor_of_the_edit_job_gives_the_evaluation_images_of_the_training(
    learned: Path, given: dict[str, Any]
) -> None:
    config = load_own_config(EditorNftConfig, given)
    assert config.validation is not None
    adapter = str(learned / "lora")
    job = config.validation_job(config.validation, str(learned), adapter)
    editor = DiffusersEditor(
        job.editor, Weights(config.editor.weights, "base"), "cpu", [Weights(adapter, "lora")]
    )
    assert job.editor.loras == (AdapterConfig(weights=adapter),)
    rows = read_trajectories(str(learned / "validation" / "000002" / "records" / "run")).to_pylist()
    assert len(rows) == 2
    for row in rows:
        path = learned.parent / "val" / f"{row['record_id'][1:]}.png"
        image = frame_of(Image.open(path).convert("RGB"))
        asked = EditRequest(
            record_id=row["record_id"],
            step=0,
            instruction=row["instruction"],
            image=image,
            original=image,
            seed=row["seed"],
        )
        (found,) = editor.apply([asked])
        assert isinstance(found, Image.Image)
        assert frame_of(found).digest == row["after"]


def test_a_complete_training_is_left_alone_and_others_are_refused(
    learned: Path, given: dict[str, Any]
) -> None:
    result, notes = json.loads((learned / "result.json").read_text()), list[str]()
    assert teach(given, notes) == result and notes == [f"complete already: {learned}/lora"]
    with pytest.raises(ConfigError, match=r"taught an editor.*name its lora/ in editor\.loras"):
        read_training(str(learned / "lora"), StorageConfig())
    with pytest.raises(RunConflict, match=r"other settings or data \(learning\.ema\)"):
        teach(given | {"ema": 0.25})
    with pytest.raises(
        ConfigError, match=r"iterations: is 3, .* complete after 2; go on into another output"
    ):
        teach(given | {"iterations": 3})


@pytest.mark.faults
@pytest.mark.parametrize(
    "moment",
    [
        "000001/encoded.json",
        pytest.param("000000/samples/run/plan/plan.json", marks=pytest.mark.soak),
        pytest.param("000000/scores/run/plan/plan.json", marks=pytest.mark.soak),
        pytest.param("000000/rewards.parquet", marks=pytest.mark.soak),
        pytest.param(f"000000/sampling/{WEIGHTS}", marks=pytest.mark.soak),
        pytest.param("000001/update.json", marks=pytest.mark.soak),
    ],
)
def test_a_killed_training_ends_with_the_same_bytes(
    vacated: Path, given: dict[str, Any], begin: Begin, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    file = vacated.with_name("config.json")
    file.write_text(json.dumps(given))
    driver = begin(*CLI, "train", "editor-nft", "--config", file)
    until(lambda: (vacated / "iterations" / moment).exists() or driver.process.poll() is not None, 600)
    driver.process.send_signal(signal.SIGKILL)
    driver.process.wait()
    assert not (vacated / "result.json").exists(), driver.end()
    before = {path: path.read_bytes() for path in vacated.glob("iterations/*/iteration.json")}
    teach(given)
    assert {path: path.read_bytes() for path in before} == before  # what is done is not made again
    assert read_adapters(vacated) == read_adapters(vacated.with_name("alone"))


def test_what_is_solved_is_drawn_no_more_and_a_judge_that_fails_gives_no_reward(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    failing = JUDGE | {"options": {"fails_for": "r0"}}
    settings = nft_settings(
        folders[KONTEXT],
        write_records(tmp_path / "records", 2),
        tmp_path / "out",
        rewards={"judge": failing},
        filter={"least_spread": None, "solved_above": 0.01},
    )
    with pytest.raises(UserError, match=r"6 of 6 samples have no reward \(judge_failed 6\)"):
        teach(settings)
    figures = json.loads((tmp_path / "out" / "iterations" / "000000" / "iteration.json").read_text())
    assert figures["left_out"] == {"judge_failed": SAMPLES} and figures["samples"] == 2 * SAMPLES
    assert (figures["solved"], figures["used"], figures["alone"]) == (SAMPLES, 0, 0)
    assert (figures["groups_solved"], figures["groups_alone"], figures["records_solved"]) == (1, 1, 1)
    assert figures["steps"] == 0 and "loss" not in figures
    drawn = json.loads((tmp_path / "out" / "iterations" / "000001" / "draw.json").read_text())
    assert drawn["places"] == [0]


@pytest.fixture
def second(learned: Path, given: dict[str, Any], tmp_path: Path) -> tuple[NftLearner, SampleBatches]:
    """The learner of the second iteration, before its update, and its samples."""
    import torch

    shutil.copytree(learned, tmp_path / "out")
    (tmp_path / "out" / "iterations" / "000001" / "encoded.json").unlink()  # its files are deleted by now
    config = load_own_config(EditorNftConfig, given | {"output": {"uri": str(tmp_path / "out")}})
    weights, flow, _ = find_taught(config)
    files = Iteration(open_store(config.output.uri, config.storage), 1)
    samples = encode_samples(config, files, weights, flow, torch.device("cpu"), print)
    learner = NftLearner(config, weights, flow, torch.device("cpu"), files.before)
    return learner, SampleBatches(config, files, samples, NoiseSource(config.times, 0, weights, flow))


def add_gradients(learner: NftLearner, batches: SampleBatches, places: list[int]) -> float:
    """Their loss, summed."""
    import torch

    total = 0.0
    for some in batches.cut(places):
        optimality = torch.tensor([batches.samples[place].optimality for place in some])
        total += learner.backward(batches.make(some, 0), optimality, len(batches.samples))[0]
    return total


def test_gradients_of_shares_add_up(second: tuple[NftLearner, SampleBatches]) -> None:
    """What workers compute: each its share of a step, divided by the number of all."""
    import torch

    learner, batches = second

    def find_gradients(*shares: list[int]) -> list[torch.Tensor]:
        for share in shares:
            add_gradients(learner, batches, share)
        found = [weight.grad.clone() for weight in learner.weights]
        for weight in learner.weights:
            weight.grad = None
        return found

    everything = list(range(len(batches.samples)))
    one, two = find_gradients(everything), find_gradients(everything[::2], everything[1::2])
    largest = max(float(gradient.abs().max()) for gradient in one)
    assert largest > 1e-6
    for whole, sum_ in zip(one, two, strict=True):
        torch.testing.assert_close(whole, sum_, rtol=0, atol=1e-4 * largest)


def test_steps_lower_the_loss_of_the_samples_that_they_are_of(
    second: tuple[NftLearner, SampleBatches],
) -> None:
    """At the very times and noise that are learned from."""
    import torch

    learner, batches = second
    optimizer, losses = torch.optim.SGD(learner.weights, lr=1e-3), list[float]()
    for _ in range(4):
        losses.append(add_gradients(learner, batches, list(range(len(batches.samples)))))
        learner.step(optimizer)
    assert losses[-1] < losses[0]


def test_an_editor_that_was_distilled_is_refused_unless_forced(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    manifest = write_records(tmp_path / "records", 2)
    klein = tmp_path / "Flux2KleinPipeline"
    shutil.copytree(folders[klein.name], klein)
    index = json.loads((klein / "model_index.json").read_text())
    (klein / "model_index.json").write_text(json.dumps(index | {"is_distilled": True}))
    settings = nft_settings(klein, manifest, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"this model was distilled to few steps.* or set force: true"):
        teach(settings)
    assert not (tmp_path / "out" / "iterations").exists()
    forced = load_own_config(EditorNftConfig, settings | {"force": True})
    assert find_taught(forced)[1].targets
