"""The card of an editor that learned by its own samples, for whoever is to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.core.version import __version__
from mira_batch.train.card import describe_choice, list_figures, list_settings, name_libraries
from mira_batch.train.editor.card import LIBRARIES, show_prompt_options
from mira_batch.train.guards import Best
from mira_batch.train.nft.record import LORA

_BESIDE = {
    "collateral": "colours of what was not edited (CIEDE2000)",
    "changed_share": "share of the picture that was edited",
    "sharpness_ratio": "sharpness, over the source's",
    "sharpness": "sharpness (variance of the Laplacian)",
}
_SHOWN = {
    "score_mean": "reward",
    "sentinel_mean": "score by the sentinel",
    **_BESIDE,
    "diversity": "difference of two samples of a group",
    "used": "samples that were learned from",
    "loss": "loss",
    "drift": "squared distance of the velocity from the base model's",
    "sight": "sight",
}
_VALIDATED = {"reward_mean": "reward", "sentinel_mean": "sentinel", **_BESIDE}


def write_card(
    config: EditorNftConfig,
    best: Best,
    ended: str,
    digest: str,
    iterations: Sequence[Mapping[str, Any]],
    validations: Sequence[Mapping[str, Any]],
) -> tuple[str, dict[str, Any]]:
    """The card as Markdown with the hub's header, and the same as data.

    Args:
        config: of the training.
        best: the adapter that it gives.
        ended: why it ended, in words.
        digest: of the records' manifest.
        iterations: figures of each.
        validations: figures of each.
    """
    result = {
        "learned": LORA,
        **describe_choice(best, ended, iterations, validations),
        "base": config.editor.weights,
        "pipeline": config.editor.pipeline,
        "data": config.edit.input.manifest,
        "data_digest": digest,
        "versions": {"mira_batch": __version__, **name_libraries(LIBRARIES)},
    }
    head = {
        "library_name": "diffusers",
        "base_model": config.editor.weights,
        "tags": ["mira-batch", "image-editing", "editor", "nft", "lora"],
    }
    lines = ["---", yaml.safe_dump(head, sort_keys=True, allow_unicode=True).rstrip(), "---"]
    lines += _write_page(config, result, iterations, validations)
    return "\n".join(lines), result


def _write_page(
    config: EditorNftConfig,
    result: Mapping[str, Any],
    iterations: Sequence[Mapping[str, Any]],
    validations: Sequence[Mapping[str, Any]],
) -> list[str]:
    """The card below its header."""
    return [
        f"# An image editor: {LORA} of {config.editor.weights}",
        "",
        "Trained by `mira-batch train editor-nft` by its own samples, which a judge scored (DiffusionNFT). "
        f"Of {len(iterations):,} iterations this is the adapter after {result['iteration']:,}: "
        f"{result['why']}. {result['ended']}",
        "",
        "```yaml",
        "editor:",
        "  type: diffusers",
        f"  pipeline: {config.editor.pipeline}",
        f"  weights: {config.editor.weights}",
        "  loras:",
        f"    - weights: {config.output.uri}/{LORA}",
        f"  guidance: {config.guidance:g}",
        f"  area: {config.editor.area}",
        *show_prompt_options(config.editor),
        "```",
        "",
        *_show_validations(validations),
        "## Iterations",
        "",
        "| figure | of the first | of the last |",
        "|---|---|---|",
        *list_figures(iterations, _SHOWN),
        "",
        "Sight is the mean change of the predicted velocity, over its norm, when the source image is "
        "blanked; at 0 the editor would be blind.",
        "",
        f"Records: `{config.edit.input.manifest}`, snapshot `{result['data_digest']}`. All figures are in "
        "`metrics.jsonl`.",
        "",
        *list_settings(config.learning(), result["versions"]),
        "",
    ]


def _show_validations(validations: Sequence[Mapping[str, Any]]) -> list[str]:
    if not validations:
        return []
    names = [name for name in _VALIDATED if any(each.get(name) is not None for each in validations)]
    titles = " | ".join(_VALIDATED[name] for name in names)
    rows = [
        f"| {each['iteration']:,} | {each['records']:,} | {_count_left_out(each):,} | "
        + " | ".join("" if each.get(name) is None else f"{each[name]:.4f}" for name in names)
        + " |"
        for each in validations
    ]
    return [
        "## Held-out records",
        "",
        f"| iterations | records | left out | {titles} |",
        "|---" * (len(names) + 3) + "|",
        *rows,
        "",
    ]


def _count_left_out(validation: Mapping[str, Any]) -> int:
    """Records without the score that counts."""
    return validation["records"] - validation.get("sentinel_judged", validation["reward_judged"])
