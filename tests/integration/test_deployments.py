"""The shipped deployments of the paper's models: the real job on Ray, two workers, tiny weights."""

from __future__ import annotations

import io
import math
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import WorkersConfig
from mira_batch.core.actions import format_action
from mira_batch.core.costs import split_cost
from mira_batch.core.errors import RunStopped
from mira_batch.core.figures import show_dollars
from mira_batch.core.receipts import RunSummary, WorkerStatus
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.launch import make_job
from mira_batch.report.progress import describe_parts
from mira_batch.runtime.backends.cluster import ray_session
from mira_batch.storage import schema
from tests.support import ROOT
from tests.support.models import step1x
from tests.support.models.tiny import FIRST, THEN, trained_policy
from tests.support.runs.catalogue import make_catalogue
from tests.support.runs.disturbed import Notes, assert_whole, results
from tests.support.servers.models import Answer, Asked, model_server

CONFIGS = ROOT / "configs"
RECORDS = 10
LOCAL = {"devices": ["cpu"], "dtype": "float32"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with ray_session(WorkersConfig(min=2)):
        yield


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small photographs of several shapes, one of them with an alpha channel."""
    manifest = make_catalogue(tmp_path_factory.mktemp("deployments") / "catalogue", RECORDS)
    first = sorted((manifest.parent / "images").iterdir())[0]
    with Image.open(first) as image:
        see_through = image.convert("RGBA")
    see_through.save(first)
    return manifest


def twin(
    name: str,
    manifest: Path,
    output: Path,
    policy: dict[str, Any],
    editor: dict[str, Any],
    judge: dict[str, Any] | None = None,
    **more: Any,
):
    """A shipped config with tiny weights, small images and two workers without GPUs."""
    config = yaml.safe_load((CONFIGS / name).read_text())
    config["input"], config["output"] = {"manifest": str(manifest)}, {"uri": str(output)}
    config["policy"] = config["policy"] | policy  # an object of its own, where the file has an anchor
    config["editor"] |= {**LOCAL, "steps": 2, "area": 4_096, **editor}
    config["workers"] = {"min": 2, "max": 2, "records_in_flight": 4, "shard_size": 2} | more
    if judge is not None:
        config["judge"]["model"] |= judge | {
            "backend": config["judge"]["model"]["backend"] | judge["backend"]
        }
    return load_config(config)


class BothThere(Notes):
    """Knows when two workers are there."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def heartbeat(self, statuses: Sequence[WorkerStatus]) -> None:
        if len(statuses) == 2:
            self.event.set()


def check(config: BulkEditConfig, watch: Notes | None = None) -> list[dict[str, Any]]:
    """Run it, and look at what came out."""
    summary = run(config, watch)
    assert summary.complete
    assert_whole(summary.run, config, RECORDS)
    rows = read_outputs(summary.run, schema.RESULTS.names).to_pylist()
    assert [row["error_message"] for row in rows if row["status"] != "ok"] == []
    steps = read_trajectories(summary.run).to_pylist()
    assert {step["instruction"] for step in steps} == {FIRST.instruction}
    for step in steps:
        width, height = Image.open(io.BytesIO(step["image"]["bytes"])).size
        assert 2_048 <= width * height <= 8_192 and width % 16 == height % 16 == 0, (width, height)
    for row in rows:
        after = Image.open(io.BytesIO(row["image"]["bytes"]))
        with Image.open(row["source"]) as before:
            assert (after.size, after.mode) == (before.size, before.mode)
        assert row["models"]["policy"] and row["models"]["editor"]
    assert any(row["restored"] for row in rows)
    return rows


def qwen(tiny_models: Path) -> dict[str, Any]:
    return {**LOCAL, "weights": str(trained_policy(tiny_models)), "sampling": {"max_tokens": 32}}


@pytest.mark.ray
@pytest.mark.parametrize(
    ("name", "pipeline"),
    [
        ("flux-kontext.yaml", "FluxKontextPipeline"),
        pytest.param("qwen-image-edit-2509.yaml", "QwenImageEditPlusPipeline", marks=pytest.mark.soak),
    ],
)
def test_a_diffusion_deployment_in_small(
    cluster: None, tiny_models: Path, manifest: Path, tmp_path: Path, name: str, pipeline: str
) -> None:
    editor = {"weights": str(tiny_models / pipeline)}
    rows = check(twin(name, manifest, tmp_path / "out", qwen(tiny_models), editor))
    assert {row["stop_reason"] for row in rows} == {"policy_stop"}
    assert all(row["models"]["editor"].count(pipeline) == 1 for row in rows)


def test_one_qwen_is_policy_and_judge_in_small(
    tiny_models: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judged deployment as it is shipped, but for small models: what it loads, and what the judge costs.
    The tiny policy has not learned to name digits, so next to no probability is asked of them."""
    from transformers import AutoModelForImageTextToText as Auto

    policy = qwen(tiny_models)
    loads: list[str] = []
    load = Auto.from_pretrained

    def from_pretrained(path: str, **settings: Any) -> Any:
        loads.append(path)
        return load(path, **settings)

    monkeypatch.setattr(Auto, "from_pretrained", from_pretrained)
    judge = {"min_mass": 1e-6, "backend": {**LOCAL, "weights": policy["weights"]}}
    editor = {"weights": str(tiny_models / "FluxKontextPipeline")}
    one = {"min": 1, "max": 1, "gpus": 1}
    name = "flux-kontext-judged.yaml"
    config = twin(name, manifest, tmp_path / "out", policy, editor, judge, **one)
    config = config.model_copy(update={"backend": "inline"})
    weights = dict(make_job(config).checks())["weights"]()
    assert weights.count(policy["weights"]) == 1, "one place, said once"
    assert weights.endswith(
        "judge.model.backend uses the weights that policy has loaded, and the two take turns"
    )
    rows = check(config)
    assert loads == [policy["weights"]]
    for row in rows:
        assert row["models"]["judge"].startswith("score-logit-form/1 ")
        assert row["seconds"]["judge"] > 0 and row["seconds"]["policy"] > 0
        assert {each["step"] for each in row["candidates"]} == {0}
        taken = row["candidates"][row["steps"][0]["attempt"]]
        assert (taken["after"], taken["score"]) == (row["steps"][0]["after"], row["steps"][0]["score"])
        assert 0 < taken["score"] < 1 and 0 < taken["entropy"] <= math.log(6)
    summary = run(config)
    parts = split_cost(summary)
    assert parts is not None and set(parts) == {"policy", "editor", "judge"} and min(parts.values()) > 0
    assert sum(parts.values()) == pytest.approx(summary.gpu_cost)
    spent = summary.total.breakdown
    assert parts["judge"] / parts["policy"] == pytest.approx(spent["judge"] / spent["policy"])
    assert f"judge {show_dollars(parts['judge'])} ({spent['judge']:,.1f} s of calls)" in describe_parts(
        summary
    )


@pytest.mark.soak
@pytest.mark.ray
def test_step1x_edit_in_small(cluster: None, tiny_models: Path, manifest: Path, tmp_path: Path) -> None:
    """The policy is served over HTTP; the editor's class is there in the workers' own environment alone."""
    fork, weights = tmp_path / "fork", tmp_path / "weights"
    fork.mkdir()
    shutil.copy(step1x.__file__, fork / "step1x_fork.py")
    shutil.copytree(tiny_models / "FluxKontextPipeline", weights)
    index = weights / "model_index.json"
    index.write_text(index.read_text().replace("FluxKontextPipeline", "Step1XEditPipelineV1P2"))
    environment = {"env_vars": {"PYTHONPATH": f"{fork}:{CONFIGS.parent}"}}
    editor = {"weights": str(weights), "pipeline": "step1x_fork.Step1XEditPipelineV1P2"}
    both = BothThere()

    def one_edit(asked: Asked) -> Answer:
        """A served policy that does as the trained one, as soon as both workers are there."""
        return Answer(format_action(THEN if len(asked.images) > 1 else FIRST), wait=both.event)

    with model_server(one_edit) as server:
        policy = {
            "base_url": server.url,
            "prices": {"million_input_tokens": 2.0, "million_output_tokens": 8.0},
        }
        config = twin("step1x-edit.yaml", manifest, tmp_path / "out", policy, editor, runtime_env=environment)
        rows = check(config, both)
    assert both.event.is_set()
    assert all(row["cost"] > 0 for row in rows)
    assert all(row["cost"] > sum(step["cost"] for step in row["steps"]) > 0 for row in rows)


def test_what_a_run_resumes_is_what_it_would_have_made(
    tiny_models: Path, manifest: Path, tmp_path: Path
) -> None:
    """Same seed, same bytes: with one request a call even the last bit is the same."""

    class AfterTheFirstShard(Notes):
        def __init__(self) -> None:
            super().__init__()
            self.stop = StopRequest()

        def committed(self, summary: RunSummary) -> None:
            self.stop.ask(RunEnd.interrupted, "enough for now")

    editor = {"weights": str(tiny_models / "FluxKontextPipeline"), "max_batch": 1, "steps": 4}
    policy = qwen(tiny_models) | {"max_batch": 1}
    one = {"min": 1, "max": 1, "records_in_flight": 2}
    configs = [
        twin("flux-kontext.yaml", manifest, tmp_path / name, policy, editor, **one).model_copy(
            update={"backend": "inline"}
        )
        for name in ("whole", "halted")
    ]
    whole = run(configs[0])
    halt = AfterTheFirstShard()
    with pytest.raises(RunStopped):
        run(configs[1], halt, halt.stop)
    resumed = run(configs[1])
    assert resumed.complete and resumed.already + resumed.resumed_steps > 0
    assert results(resumed.run) == results(whole.run)
