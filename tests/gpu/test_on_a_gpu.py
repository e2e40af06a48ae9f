"""What only a GPU shows: its own out-of-memory, streams of their own, and the same job on `cuda`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mira_batch import load_config, run
from mira_batch.config.models.local import DiffusersConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.ports import EditRequest, PolicyRequest
from mira_batch.core.types import Weights
from mira_batch.models.diffusion.editor import DiffusersEditor
from mira_batch.models.serving.outcome import free_memory, is_engine_dead, is_out_of_memory
from mira_batch.storage.stores.objects import open_store
from tests.support.models.tiny import noise, policy_of, trained_policy
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import verify_edits

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def kontext(tiny_models: Path, **more: Any) -> DiffusersEditor:
    weights = str(tiny_models / "FluxKontextPipeline")
    given = {"type": "diffusers", "pipeline": "diffusers.FluxKontextPipeline", "weights": weights}
    given |= {"steps": 2, "area": 4_096, "dtype": "bfloat16", **more}
    return DiffusersEditor(DiffusersConfig.model_validate(given), Weights(weights, "tiny"), "cuda:0")


def edits(count: int) -> list[EditRequest]:
    return [
        EditRequest(f"r{i}", "make it red", noise(64, 64, i), noise(64, 64, i), i, 0) for i in range(count)
    ]


def test_the_whole_job_runs_on_cuda(tiny_models: Path, tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 8)
    policy = {"type": "qwen_vl", "weights": str(trained_policy(tiny_models)), "devices": ["cuda:0"]}
    editor = {"type": "diffusers", "pipeline": "diffusers.FluxKontextPipeline", "devices": ["cuda:0"]}
    editor |= {"weights": str(tiny_models / "FluxKontextPipeline"), "steps": 2, "area": 4_096, "replicas": 2}
    policy |= {"dtype": "float32", "sampling": {"max_tokens": 32}}
    config = load_config(settings(manifest, tmp_path / "out", policy=policy, editor=editor))
    summary = run(config)
    assert summary.complete and summary.ok == summary.planned
    assert verify_edits(open_store(summary.run, config.storage)).whole


def test_running_out_of_memory_is_known_for_what_it_is(tiny_models: Path) -> None:
    editor = kontext(tiny_models, area=16_777_216)
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        with pytest.raises(Exception) as caught:
            editor.apply(edits(4))
        assert is_out_of_memory(caught.value) and not is_engine_dead(caught.value)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    del caught
    free_memory()
    (image,) = kontext(tiny_models).apply(edits(1))
    assert not isinstance(image, Exception)


def test_activations_without_room_are_said_at_load(tiny_models: Path) -> None:
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        with pytest.raises(ConfigError, match=r"editor\.weights: .*no room for one edit"):
            kontext(tiny_models, area=16_777_216)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_the_same_seed_gives_the_same_bytes(tiny_models: Path) -> None:
    editor = kontext(tiny_models)
    first, second = (editor.apply(edits(2)) for _ in range(2))
    assert [image.tobytes() for image in first] == [image.tobytes() for image in second]  # type: ignore[union-attr]


def test_a_batch_of_policies_equals_singles(tiny_models: Path) -> None:
    policy = policy_of(tiny_models / "qwen2.5-vl", devices=["cuda:0"])
    asked = [
        PolicyRequest(f"r{i}", "make it red", noise(40 + 9 * i, 64, i), noise(64, 64, i), (), i)
        for i in range(4)
    ]
    together = list(policy.propose(asked))
    assert together == [policy.propose([one])[0] for one in asked]
