"""What is said of a pipeline's folder, class and memory before anything is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mira_batch.config.models.local import DiffusersConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.types import Weights
from mira_batch.models.diffusion.editor import DiffusersEditor
from mira_batch.models.diffusion.pipelines.families import check_pipeline_files, import_pipeline
from mira_batch.models.tiny.diffusion import write_pipelines
from mira_batch.models.torch_support.memory import (
    check_memory,
    count_loaded_bytes,
    list_weight_files,
    measure_free_main_memory,
    measure_free_memory,
)

KONTEXT = "diffusers.FluxKontextPipeline"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipelines(tmp_path_factory.mktemp("pipelines"))["FluxKontextPipeline"]


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return shutil.copytree(written, tmp_path / "weights")


def write_header(path: Path, tensors: dict[str, tuple[str, list[int], int]], missing: int = 0) -> None:
    """A safetensors file with a valid header; its data is a hole in the file and takes no room."""
    header, end = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end - missing)


def build(path: Path, pipeline: str = KONTEXT, device: str = "cpu", **settings: Any) -> DiffusersEditor:
    config = DiffusersConfig(
        type="diffusers", pipeline=pipeline, weights=str(path), area=4096, **{"dtype": "float32"} | settings
    )
    return DiffusersEditor(config, Weights(str(path), "w"), device)


# The folder


def test_a_whole_folder_passes_and_names_the_parts_with_weights(written: Path) -> None:
    assert set(check_pipeline_files(written, KONTEXT)) == {
        "text_encoder",
        "text_encoder_2",
        "transformer",
        "vae",
    }


def test_a_folder_without_an_index_holds_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"editor\.weights: .* has no model_index\.json"):
        check_pipeline_files(tmp_path, KONTEXT)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"_class_name": ["pipeline", "Own"]}'])
def test_an_index_that_cannot_be_used_is_named(folder: Path, text: str) -> None:
    (folder / "model_index.json").write_text(text)
    with pytest.raises(ConfigError, match=r"model_index\.json"):
        check_pipeline_files(folder, KONTEXT)


def test_weights_of_another_class_are_refused_with_its_name(written: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"holds a FluxKontextPipeline; set pipeline: diffusers\.FluxKontext"
    ):
        check_pipeline_files(written, "diffusers.QwenImageEditPipeline")
    check_pipeline_files(written, "tests.support.models.step1x.Step1XEditPipelineV1P2")


@pytest.mark.parametrize("part", ["vae", "scheduler", "tokenizer"])
def test_a_part_that_is_missing_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    with pytest.raises(ConfigError, match=f"lacks the folder {part}"):
        check_pipeline_files(folder, KONTEXT)


def test_weights_that_are_no_safetensors_are_refused(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(ConfigError, match=r"only diffusion_pytorch_model\.bin.* safetensors are wanted"):
        check_pipeline_files(folder, KONTEXT)
    with pytest.raises(ConfigError, match="safetensors are wanted"):
        build(folder)


def test_code_that_comes_with_weights_is_not_run(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index["transformer"] = ["mine", "Own"]
    (folder / "model_index.json").write_text(json.dumps(index))
    marker = folder / "ran"
    (folder / "transformer" / "mine.py").write_text(f"open({str(marker)!r}, 'w')")
    with pytest.raises(ConfigError, match=r"brings code of its own \(mine\.py\)"):
        build(folder)
    assert not marker.exists()


def test_a_file_that_is_cut_off_is_named_with_its_sizes(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=rf"{whole - 100:,} bytes of {whole:,}"):
        check_pipeline_files(folder, KONTEXT)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ConfigError, match="is no safetensors file"):
        check_pipeline_files(folder, KONTEXT)


def test_a_missing_shard_is_named(folder: Path) -> None:
    vae = folder / "vae"
    (vae / "diffusion_pytorch_model.safetensors").rename(vae / "a-00001-of-00002.safetensors")
    shards = {"one": "a-00001-of-00002.safetensors", "two": "a-00002-of-00002.safetensors"}
    (vae / "a.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ConfigError, match=r"a-00002-of-00002\.safetensors is missing"):
        check_pipeline_files(folder, KONTEXT)


def test_what_the_loader_refuses_is_said_with_its_place(folder: Path) -> None:
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_attention_heads": 3}))
    with pytest.raises(ConfigError, match=rf"editor\.weights: .* can't be loaded as {KONTEXT}"):
        build(folder)


# The class


def test_a_class_is_found_by_its_path() -> None:
    assert import_pipeline(KONTEXT).__name__ == "FluxKontextPipeline"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "diffusers.FluxKontextPipelin",
            r"diffusers 0\.\d+.* has no FluxKontextPipelin; near it are .*FluxKontextP",
        ),
        (
            "no_such_package.Pipeline",
            r"module no_such_package of no_such_package\.Pipeline can't be imported",
        ),
        ("pathlib.Path", r"pathlib\.Path is no pipeline"),
    ],
)
def test_a_class_that_is_none_is_named(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"editor\.pipeline: {message}"):
        import_pipeline(path)


# Memory


def test_weights_are_counted_as_they_will_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_header(
        path,
        {"w": ("F32", [100], 400), "h": ("BF16", [100], 200), "ids": ("I64", [10], 80), "e": ("F32", [0], 0)},
    )
    assert count_loaded_bytes([path], "bfloat16") == 200 + 200 + 80
    assert count_loaded_bytes([path], "float32") == 400 + 400 + 80


def test_only_the_files_that_are_loaded_count(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.fp16.safetensors"):
        write_header(tmp_path / name, {"w": ("F16", [1], 2)})
    assert [path.name for path in list_weight_files(tmp_path)] == ["model.safetensors"]


def test_weights_that_do_not_fit_are_refused_before_they_are_loaded(folder: Path) -> None:
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    size = 600 * 10**9
    write_header(path, {"w": ("BF16", [size // 2], size)})
    assert path.stat().st_blocks * 512 < 10**6, "the file takes no room"
    with pytest.raises(
        ConfigError, match=r"editor\.weights: the weights take 600\.0 GB, but only [\d.]+ GB"
    ) as e:
        build(folder, dtype="bfloat16")
    assert "speed.quantization" in str(e.value)
    with pytest.raises(ConfigError, match=r"take 1200\.0 GB"):
        build(folder, dtype="float32")


def test_weights_that_fit_pass() -> None:
    free = measure_free_memory(CPU)
    assert free is not None and free > 0
    check_memory(free // 2, CPU, "policy.weights", "…")
    with pytest.raises(ConfigError, match=r"policy\.weights: .* of main memory are free; buy more"):
        check_memory(10**15, CPU, "policy.weights", "buy more")


def test_files_that_a_container_keeps_in_its_cache_are_room(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4900\n")
    (tmp_path / "memory.stat").write_text("anon 1000\nactive_file 2500\ninactive_file 1300\n")
    assert measure_free_main_memory(tmp_path) == 100 + 2500 + 1300
    (tmp_path / "memory.max").write_text("max\n")
    assert measure_free_main_memory(tmp_path) == pytest.approx(
        measure_free_main_memory(tmp_path / "none"), rel=0.2
    )
