"""The tiny models: the same bytes each time, whole, and never over somebody's files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from mira_batch.core.actions import parse_action
from mira_batch.core.errors import ConfigError
from mira_batch.core.ports import PolicyRequest
from mira_batch.models.qwen.files import check_qwen_files
from mira_batch.models.tiny.qwen import build_tiny_qwen, write_qwen2_5_vl, write_qwen3_vl
from mira_batch.models.tiny.write import MARKER, claim
from mira_batch.models.torch_support.setup import find_device, find_dtype, prepare
from tests.support.models.tiny import FIRST, THEN, a_step, noise, policy_of, trained_policy

QWEN = {"qwen2.5-vl": write_qwen2_5_vl, "qwen3-vl": write_qwen3_vl}


def digests(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("name", QWEN)
def test_the_same_bytes_come_out_each_time(name: str, tiny_models: Path, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(123)
    state = torch.get_rng_state()
    QWEN[name](tmp_path)
    assert digests(tmp_path) == digests(tiny_models / name)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", QWEN)
def test_a_tiny_model_is_whole_and_small(name: str, tiny_models: Path) -> None:
    check_qwen_files(str(tiny_models / name))
    assert sum(path.stat().st_size for path in (tiny_models / name).iterdir()) < 2_000_000


@pytest.mark.parametrize("name", QWEN)
def test_the_image_and_the_instruction_move_the_answer(name: str, tiny_models: Path) -> None:
    """Or the tests could not see that a row got its neighbour's image."""
    policy = policy_of(tiny_models / name, sampling={"max_tokens": 24, "temperature": 1})
    one, other = noise(80, 60, 1), noise(64, 64, 2)
    asked = [("invert it", one, one), ("invert it", other, other), ("turn it", one, one)]
    asked += [("invert it", one, other), ("invert it", other, one)]
    answers = policy.propose([PolicyRequest("r", text, a, b, (), 5) for text, a, b in asked])
    assert len(set(answers)) == len(asked)


def test_the_editing_pipelines_cut_off_their_template_exactly() -> None:
    """They drop the first 64 tokens of a prompt: with Qwen's vocabulary, all before the user's words."""
    prepare()
    from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import QwenImageEditPipeline

    _, tokenizer, processor = build_tiny_qwen()
    pipeline = QwenImageEditPipeline(
        scheduler=None,
        vae=None,
        text_encoder=None,
        tokenizer=tokenizer,
        processor=processor,
        transformer=None,
    )  # type: ignore[arg-type]
    before = pipeline.prompt_template_encode.split("<|vision_start|>")[0]
    assert len(tokenizer(before)["input_ids"]) == pipeline.prompt_template_encode_start_idx


def test_what_was_written_here_may_be_written_again(tmp_path: Path) -> None:
    claim(tmp_path / "new" / "deep")
    assert (tmp_path / "new" / "deep" / MARKER).is_file()
    claim(tmp_path / "new" / "deep")


def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="holds other files"):
        claim(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        claim(tmp_path / "thesis.txt")
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_the_trained_policy_goes_through_the_loop(tiny_models: Path) -> None:
    directory = trained_policy(tiny_models)
    assert trained_policy(tiny_models) == directory
    policy = policy_of(directory)
    requests, expected = [], []
    for number, size in enumerate([(30, 20), (64, 64), (20, 90), (300, 200)]):
        before, after = noise(*size, number), noise(*size, -number)
        text = f"make the sky purple and remove {number + 2} cars"
        step = a_step(0, before, after, FIRST.instruction)
        requests += [
            PolicyRequest("r", text, before, before, (), number),
            PolicyRequest("r", text, before, after, (step,), number),
        ]
        expected += [FIRST, THEN]
    assert [parse_action(str(answer)) for answer in policy.propose(requests)] == expected


def test_devices_have_the_names_of_the_config() -> None:
    import torch

    assert find_device("cpu") == torch.device("cpu")
    expected = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    assert find_device("auto") == expected
    with pytest.raises(ConfigError, match=r"cuda:99 .* workers\.gpus .* at least 100"):
        find_device("cuda:99")
    with pytest.raises(ConfigError, match="'tpu' is no device"):
        find_device("tpu")


def test_number_formats_have_the_names_of_the_config() -> None:
    import torch

    assert find_dtype("bfloat16") is torch.bfloat16
    for wrong in ("bfloat17", "Tensor"):
        with pytest.raises(ConfigError, match=wrong):
            find_dtype(wrong)


def test_preparing_twice_is_preparing_once() -> None:
    prepare()
    prepare()
    import torchvision

    image = noise(4, 3, 1).pixels
    assert torchvision.transforms.v2.functional.pil_to_tensor(image).shape == (3, 3, 4)
