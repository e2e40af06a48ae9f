"""A policy learns from its own rollouts: real runs of the edit and the evaluate job in the synthetic world, a
real Qwen2.5-VL of its size, real updates, and processes that are really killed.

One thread and one request a call: then nothing depends on what happens to be in flight together, and the same
training gives the same bytes.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mira_batch import read_outputs
from mira_batch.cli import main
from mira_batch.config.grpo import GrpoConfig
from mira_batch.config.load import load_own_config
from mira_batch.core.errors import RunConflict, UserError
from mira_batch.storage.stores import open_store
from mira_batch.train.grpo.learner import Learner
from mira_batch.train.grpo.record import Iteration, read_advantages
from mira_batch.train.grpo.rollouts import Lesson, Pictures, read_lessons, read_rollouts
from mira_batch.train.grpo.update import load_updater, measure_sight, update_policy
from tests.support.runs.disturbed import CLI, until
from tests.support.runs.drivers import Begin
from tests.support.runs.grpo import (
    RECORDS,
    ROLLOUTS,
    WORLD,
    learn,
    read_adapters,
    settings,
    write_world,
)
from tests.support.runs.updates import read_update, update_again


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Path]:
    """Holds the world's model and tasks, and in `out` a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("grpo")
    write_world(folder)
    learn(folder)
    yield folder


@pytest.fixture
def vacated(folder: Path) -> Iterator[Path]:
    """The same, with that training in `alone`, and `out` free for another. Where a training is decides what
    its policies draw, so it is the same place."""
    (folder / "out").rename(folder / "alone")
    yield folder
    shutil.rmtree(folder / "out")
    (folder / "alone").rename(folder / "out")


def leave_before_the_last_update(vacated: Path) -> Path:
    """That training in `out`, as if it had been ended before its last update; the iteration's folder."""
    shutil.copytree(vacated / "alone", vacated / "out")
    (vacated / "out" / "result.json").unlink()
    files = vacated / "out" / "iterations" / "000001"
    for name in ("update.json", "iteration.json"):
        (files / name).unlink()
    return files


def test_what_a_training_leaves(folder: Path) -> None:
    out = folder / "out"
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2]
    for number, line in enumerate(lines):
        assert line["rollouts"] == RECORDS * ROLLOUTS == line["rewarded"]
        assert line["used"] + line["alike"] + line["alone"] == line["rewarded"]
        assert line["groups"] == RECORDS and line["used"] > 0 and line["reward_spread"] > 0
        assert line["agreement_mean"] < 1e-5 and line["agreement_most"] < 1e-4
        assert line["sight"] > 0 and line["entropy"] > 0 and line["kl"] is not None and line["steps"] > 0
        files = out / "iterations" / f"{number:06d}"
        rewards = pq.read_table(files / "rewards.parquet").to_pylist()
        rows = read_outputs(str(files / "rollouts" / "run"))
        assert rows.num_rows == len(rewards)
        assert sum(len(answers) for answers in rows["answers"].to_pylist()) == line["answers"]
        used = {(r["record_id"], r["rollout"]) for r in rewards if r["advantage"] is not None}
        answers = [
            answer
            for row in rows.to_pylist()
            if (row["record_id"], row["rollout"]) in used
            for answer in row["answers"]
        ]
        assert len(answers) == line["answers_used"]  # malformed ones and the final STOP included
        assert sum(len(answer["tokens"]) for answer in answers) == line["tokens_used"]
    # From what the first step began with: the place of a training decides its draws, and few make one step.
    assert all(line["kl"] > 1e-6 for line in lines if line["steps"] > 1 or line["iteration"] > 1)
    first, second, best = read_adapters(out)
    assert first != second == best
    assert not (out / "lease.json").exists()
    about = json.loads((out / "result.json").read_text())
    assert (about["iteration"], about["iterations"], about["prompt"]) == (2, 2, "mira-short/1")
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "Taken after 2 iterations" in page and "reward mean" in page and "entropy" in page
    assert main(["report", str(out), "--full"]) == 2
    card = (out / "README.md").read_text()
    assert "type: qwen_vl" in card and f"{folder / 'out'}/adapter" in card


@pytest.mark.faults
@pytest.mark.parametrize(
    "moment",
    [
        "000001/rewards.parquet",
        pytest.param("000000/rollouts/run/plan/plan.json", marks=pytest.mark.soak),
        pytest.param("000000/scores/run/plan/plan.json", marks=pytest.mark.soak),
        pytest.param("000000/adapter/adapter_config.json", marks=pytest.mark.soak),
        pytest.param("000000/update.json", marks=pytest.mark.soak),
    ],
)
def test_a_killed_training_ends_with_the_same_bytes(
    vacated: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out, file = vacated / "out", vacated / "config.json"
    file.write_text(json.dumps(settings(vacated)))
    driver = begin(*CLI, "train", "policy-grpo", "--config", file)
    until(lambda: (out / "iterations" / moment).exists() or driver.process.poll() is not None, 300)
    driver.process.send_signal(signal.SIGKILL)
    driver.process.wait()
    assert not (out / "result.json").exists(), driver.end()
    before = {path: path.read_bytes() for path in out.glob("iterations/*/iteration.json")}
    learn(vacated)
    assert {path: path.read_bytes() for path in before} == before  # what is done is not made again
    assert read_adapters(out) == read_adapters(vacated / "alone")


def test_a_complete_training_is_left_alone_and_others_are_refused(folder: Path) -> None:
    result = folder / "out" / "result.json"
    assert learn(folder) == json.loads(result.read_text())
    with pytest.raises(RunConflict, match=r"other settings or data \(learning.epochs\)"):
        learn(folder, epochs=2)
    result.rename(folder / "result.json")
    try:
        with pytest.raises(RunConflict, match=r"other settings or data \(learning.epochs\)"):
            learn(folder, epochs=2)
    finally:
        (folder / "result.json").rename(result)


def test_a_typo_is_mended_in_the_config_alone(vacated: Path) -> None:
    with pytest.raises(UserError, match="typo"):
        learn(vacated, model={"weights": str(vacated / "typo"), "dtype": "float32"})
    assert learn(vacated, iterations=1)["iterations"] == 1
    with pytest.raises(RunConflict, match=r"other settings or data \(learning.seed\)"):
        learn(vacated, seed=1)


def test_other_base_weights_and_another_way_to_read_the_manifest_are_refused(vacated: Path) -> None:
    files = leave_before_the_last_update(vacated)
    edit = settings(vacated)["edit"]
    other = edit | {"input": edit["input"] | {"encoding": "latin-1"}}
    with pytest.raises(RunConflict, match=r"other settings or data \(learning.input\)"):
        learn(vacated, edit=other)
    config = vacated / "base" / "config.json"
    before = config.read_text()
    config.write_text(before + " ")  # as good as another: nobody knows what it means
    try:
        with pytest.raises(RunConflict, match=r"model\.weights now; put those back, delete .*000001, which"):
            learn(vacated)
    finally:
        config.write_text(before)
    assert not (files / "update.json").exists()
    assert learn(vacated)["iterations"] == 2
    assert read_adapters(vacated / "out") == read_adapters(vacated / "alone")


def test_rollouts_of_another_policy_are_refused(vacated: Path) -> None:
    """The log-probabilities tell: here those of the rollouts are made another's."""
    files = leave_before_the_last_update(vacated)
    for path in files.glob("rollouts/run/results/*.parquet"):
        table = pq.read_table(path)
        rows = table.to_pylist()
        for row in rows:
            for answer in row["answers"]:
                answer["logprobs"] = [value / 2 for value in answer["logprobs"]]
        pq.write_table(table.from_pylist(rows, schema=table.schema), path, write_page_checksum=True)
    with pytest.raises(UserError, match=r"not of one policy: over \d+ tokens .* in nats; allowed are 1e-05"):
        learn(vacated)
    assert not (files / "update.json").exists()


def load(folder: Path, scratch: Path) -> tuple[GrpoConfig, Learner, list[Lesson]]:
    """The learner of the second iteration, and its lessons."""
    config = load_own_config(GrpoConfig, settings(folder))
    files = Iteration(open_store(config.output.uri, config.storage), 1)
    learner, _, _ = load_updater(config, files, scratch)
    run, pictures = files.locate_run("rollouts"), Pictures(scratch / "pictures")
    return config, learner, read_lessons(run, read_advantages(files), pictures, config.storage)


def test_a_model_that_went_blind_is_refused(folder: Path, tmp_path: Path) -> None:
    import torch

    config, learner, lessons = load(folder, tmp_path)
    assert measure_sight(config, learner, lessons) > 0
    for name, weight in learner.model.named_parameters():
        if "visual.merger" in name:
            with torch.no_grad():
                weight.zero_()  # whatever is shown, the language model gets the same
    with pytest.raises(UserError, match="the model is blind: of 8 answers none's likelihood changes"):
        measure_sight(config, learner, lessons)


def test_rollouts_by_another_prompt_are_refused(folder: Path) -> None:
    config = load_own_config(GrpoConfig, settings(folder))
    run = Iteration(open_store(config.output.uri, config.storage), 1).locate_run("rollouts")
    assert len(read_rollouts(run, "mira-short/1", config.storage)) == RECORDS * ROLLOUTS
    with pytest.raises(
        RunConflict, match=r"asked by the prompt mira-short/1, and is trained on mira-prompt/1"
    ):
        read_rollouts(run, "mira-prompt/1", config.storage)


def test_gradients_of_shares_add_up(folder: Path, tmp_path: Path) -> None:
    """What workers compute: each its share of a step, divided by the counts of the whole."""
    import torch

    _, learner, lessons = load(folder, tmp_path)
    lessons = lessons[:7]
    tokens = sum(len(lesson.tokens) for lesson in lessons)
    reference = [[value - 0.1 for value in lesson.logprobs] for lesson in lessons]

    def find_gradients(*shares: slice) -> list[torch.Tensor]:
        for share in shares:
            learner.backward(lessons[share], reference[share], tokens, len(lessons))
        found = [weight.grad.clone() for weight in learner.weights]
        for weight in learner.weights:
            weight.grad = None
        return found

    one, two = find_gradients(slice(None)), find_gradients(slice(0, None, 2), slice(1, None, 2))
    largest = max(float(gradient.abs().max()) for gradient in one)
    assert largest > 1e-4  # how large hangs on what the place of the training had it draw
    for whole, sum_ in zip(one, two, strict=True):
        torch.testing.assert_close(whole, sum_, rtol=0, atol=min(1e-5, 1e-3 * largest))


@pytest.mark.slow
def test_an_update_by_two_workers_is_that_of_one(folder: Path, tmp_path: Path) -> None:
    """All of it, in steps of odd numbers of answers and in other batches: weights, AdamW's means, figures."""
    import torch

    small = {"optimizer": {"learning_rate": 1e-5, "max_grad_norm": 0.05}, "minibatch": 7}  # norms are cut
    files = [
        update_again(update_policy, folder / "out", tmp_path / str(n), settings(folder, **small, batch=b), n)
        for n, b in ((1, 100), (2, 3))
    ]
    one, two = map(read_update, files)
    for name, part in one.items():
        torch.testing.assert_close(two[name], part, rtol=0, atol=1e-6)
    alone, together = (json.loads((each / "update.json").read_text()) for each in files)
    assert alone["steps"] and alone["kl"] > 0 and alone["grad_norm"] > 0.05
    for name in alone.keys() - {"seconds", "agreement_mean", "agreement_most"}:  # of rounding alone
        assert together[name] == pytest.approx(alone[name], rel=1e-4)


def test_judge_in_the_loop_sentinel_and_validation(folder: Path, tmp_path: Path) -> None:
    truth = {"type": "custom", "factory": f"{WORLD}:make_judge"}
    edit = settings(folder)["edit"] | {"judge": {"model": truth, "attempts": 1}}
    taught = tmp_path / "taught"  # with dropout, as policy-sft may teach one
    shutil.copytree(folder / "out" / "adapter", taught)
    about = json.loads((taught / "adapter_config.json").read_text())
    (taught / "adapter_config.json").write_text(json.dumps(about | {"lora_dropout": 0.5}))
    result = learn(
        folder,
        output={"uri": str(tmp_path / "out")},
        model=settings(folder)["model"] | {"adapter": str(taught)},
        tuning=None,
        edit=edit,
        rewards={"malformed_penalty": 0.25},
        sentinel={"judge": truth},
        validation={"input": {"manifest": str(folder / "val.parquet")}},
        iterations=1,
        records=2,
        minibatch=64,
    )
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    (line,) = (line for line in lines if line["of"] == "iteration")
    assert line["sentinel_judged"] + line["malformed_rollouts"] == line["rollouts"] == 2 * ROLLOUTS
    assert line["sentinel_mean"] == pytest.approx(line["score_mean"])  # the same truth, by two ways
    if line["used"]:  # the place of a training decides its draws, and few may all have the same reward
        assert line["kl"] < 1e-6  # of one step from the reference, which is the adapter that it began with
        assert line["ratio"] == pytest.approx(1) and line["clip_fraction"] == 0
    begun, ended = result["validation_at_start"], result["validation"]
    assert (begun["iteration"], ended["iteration"]) == (0, 1)
    for found in (begun, ended):
        assert found["judged"] + found["malformed"] + found["left_out"] == found["records"] == 2
        assert 0 <= found["success"] <= found["score"] <= 1
    assert len(read_adapters(tmp_path / "out")) == 2
