"""The card of what an editor learned: from what, how, and how well, for whoever is to use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mira_batch.config.editor_sft import EditorSftConfig, TaughtEditorConfig
from mira_batch.core.identity import content_hash
from mira_batch.core.types import Weights
from mira_batch.core.version import __version__
from mira_batch.train.card import find_figures, list_figures, list_settings, name_libraries
from mira_batch.train.editor.encode import Encoded
from mira_batch.train.editor.learner import LORA

LIBRARIES = ("torch", "diffusers", "transformers", "peft")
_TITLES = {
    "loss": "training loss (squared error of the velocity)",
    "val_loss": "validation loss (the same, of held-out source images)",
    "sight": "sight",
}


def write_card(
    config: EditorSftConfig,
    name: str,
    encoded: Encoded,
    unseen: int,
    weights: Weights,
    metrics: Sequence[Mapping[str, Any]],
) -> tuple[str, dict[str, Any]]:
    """The card as Markdown with the hub's header, and the same as data.

    Args:
        config: of the training.
        name: of the folder that holds what was learned.
        encoded: its pairs.
        unseen: how many of these to learn from are in no step.
        weights: the base pipeline's files.
        metrics: lines of metrics.jsonl.
    """
    sizes = Counter("{} x {}".format(*pair.canvas) for pair in encoded.train)
    result = {
        "learned": name,
        "base": config.editor.weights,
        "base_identity": weights.identity,
        "pipeline": config.editor.pipeline,
        "data": config.data.manifest,
        "data_digest": content_hash(*(pair.key for pair in encoded.train)),
        "pairs": len(encoded.train),
        "held_out": len(encoded.val),
        "unseen": unseen,
        "left_out": dict(encoded.left_out),
        "pairs_by_size": dict(sizes.most_common()),
        "steps": metrics[-1]["step"],
        "figures": find_figures(metrics),
        "versions": {"mira_batch": __version__, **name_libraries(LIBRARIES)},
    }
    return _write_markdown(config, metrics, result), result


def _write_markdown(
    config: EditorSftConfig, metrics: Sequence[Mapping[str, Any]], result: Mapping[str, Any]
) -> str:
    name = result["learned"]
    head = {
        "library_name": "diffusers",
        "base_model": config.editor.weights,
        "tags": ["mira-batch", "image-editing", "editor", "sft", *(["lora"] if name == LORA else [])],
    }
    left = "; ".join(f"{count:,}: {reason}" for reason, count in result["left_out"].items())
    unseen = [f"- in no step of the training: {result['unseen']:,}"] if result["unseen"] else []
    sizes = ", ".join(f"{size} {count:,}" for size, count in result["pairs_by_size"].items())
    place = f"{config.output.uri}/{name}"
    use = (
        [f"  weights: {config.editor.weights}", "  loras:", f"    - weights: {place}"]
        if name == LORA
        else [f"  weights: {place}"]
    )
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=True, allow_unicode=True).rstrip(),
        "---",
        f"# An image editor: {name} of {config.editor.weights}",
        "",
        "Trained by `mira-batch train editor-sft` by pairs of a source image and what should come of it "
        "under an instruction (flow matching).",
        "",
        "```yaml",
        "editor:",
        "  type: diffusers",
        f"  pipeline: {config.editor.pipeline}",
        *use,
        f"  area: {config.editor.area}",
        *([] if config.editor.guidance is None else [f"  guidance: {config.editor.guidance:g}"]),
        *show_prompt_options(config.editor),
        "```",
        "",
        "## Figures",
        "",
        "| figure | at the start | at the end |",
        "|---|---|---|",
        *list_figures(metrics, _TITLES),
        "",
        "Sight is the mean change of the predicted velocity, over its norm, when the source image is "
        "blanked; at 0 the editor would be blind. All figures by step are in `metrics.jsonl`.",
        "",
        "## Data",
        "",
        f"{result['pairs']:,} pairs of `{config.data.manifest}`, snapshot `{result['data_digest']}`; "
        f"{result['held_out']:,} more are of source images that were held out.",
        "",
        f"- by size: {sizes}",
        *unseen,
        *([f"- left out: {left}"] if left else []),
        "",
        *list_settings(config.learning(), result["versions"]),
        f"- base weights `{result['base_identity']}`",
        "",
    ]
    return "\n".join(lines)


def show_prompt_options(editor: TaughtEditorConfig) -> list[str]:
    """The lines of an edit job's `editor` by which prompts are as they were in the training.

    Args:
        editor: of the training.
    """
    options = ", ".join(f"{name}: {value}" for name, value in editor.prompt_options.items())
    return [f"  options: {{{options}}}"] if options else []
