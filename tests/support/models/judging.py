"""Tiny Qwen-VLs for judges: one whose answers begin with a digit, for the score-logit judge, and one that
always gives the same answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from mira_batch.config.models.judges import JudgeSamplingConfig, QwenVLBackendConfig, ScoreLogitConfig
from mira_batch.core.ports import JudgeRequest
from mira_batch.core.types import Weights
from mira_batch.models.judges import ScoreLogit
from mira_batch.models.qwen import QwenVLBackend
from tests.support.models.tiny import noise

_CONFIG = {"type": "score_logit", "backend": {"type": "openai", "model": "none"}}
DIGITS = ("0", "1", "2", "3", "4", "5")


def digit_model(tiny_models: Path, kind: str = "qwen2.5-vl") -> Path:
    """Directory of a tiny model whose other tokens are all but silent; made once for each `tiny_models`."""
    directory = tiny_models / f"digits-{kind}"
    if not directory.exists():
        _write(tiny_models / kind, unfinished := directory.with_suffix(".unfinished"))
        unfinished.rename(directory)
    return directory


def saying_model(tiny_models: Path, answer: str) -> Path:
    """Directory of a tiny Qwen2.5-VL that answers this, whatever it is asked: made once for each
    `tiny_models`."""
    directory = tiny_models / f"saying-{answer.encode().hex()}"
    if not directory.exists():
        _write_saying(tiny_models / "qwen2.5-vl", unfinished := directory.with_suffix(".unfinished"), answer)
        unfinished.rename(directory)
    return directory


def backend_of(
    directory: Path, choices: tuple[str, ...] = (), seed: str = "tiny", **settings: Any
) -> QwenVLBackend:
    """A judge's model from a tiny model's directory, in float32 on the CPU and with short answers."""
    given = {"type": "qwen_vl", "weights": str(directory), "dtype": "float32", "devices": ["cpu"], **settings}
    config = QwenVLBackendConfig.model_validate(given)
    sampling = config.sampling or JudgeSamplingConfig(max_tokens=16)
    weights = Weights(config.weights, seed)
    return QwenVLBackend(config, weights, "cpu", None, "judge.model.backend", sampling, choices)


def _write(source: Path, target: Path) -> None:
    """Silence all rows of the head but those of digits, and make those louder along what hidden states
    have in common: a digit is nearly always the likeliest token, and which one depends on the prompt."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    model = backend_of(source, DIGITS)
    heard: list[Any] = []
    head = model.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda module, args: heard.append(args[0][:, -1]))
    protocol = ScoreLogit(ScoreLogitConfig.model_validate(_CONFIG), "judge.model")
    for number in range(4):
        first, second = noise(56, 56, number), noise(56, 56, -number)
        model.answer(protocol.ask(JudgeRequest("r", f"make it {number}", first, second, "")))
    hook.remove()
    common = torch.cat(heard).mean(dim=0)
    ids = list(model._ids.values())
    loud = head.weight.detach()[ids].clone()
    rows = torch.zeros_like(head.weight)
    rows[ids] = loud * (2.0 / loud.norm(dim=1, keepdim=True)) + common * (12.0 / common.square().sum())
    weights = load_file(target / "model.safetensors")
    weights["lm_head.weight"] = rows
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})


def _write_saying(source: Path, target: Path, answer: str) -> None:
    """Silence all layers, so that what comes next depends on the last token alone, have the tokenizer take
    the answer for one token, and the head name it after the last token of a prompt, and the end after it."""
    import torch

    backend = backend_of(source)
    model, processor = backend.model, backend.processor
    tokenizer = processor.tokenizer
    tokenizer.add_tokens([answer])
    (start,), (whole,) = tokenizer("\n")["input_ids"], tokenizer(answer)["input_ids"]
    model.resize_token_embeddings(max(whole + 1, model.get_input_embeddings().num_embeddings))
    said = [start, whole, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "visual" not in name and name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
        hidden = model.model.language_model.norm(model.get_input_embeddings().weight[said[:-1]])
        head = model.get_output_embeddings().weight
        head.zero_()
        head[said[1:]] = 40.0 * torch.linalg.pinv(hidden).T
    model.save_pretrained(target)
    processor.save_pretrained(target)
