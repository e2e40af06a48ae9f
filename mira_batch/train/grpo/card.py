"""The card of a policy that learned by its own rollouts, for whoever is to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mira_batch.config.grpo import GrpoConfig
from mira_batch.core.prompt import prompt_version
from mira_batch.core.version import __version__
from mira_batch.train.card import describe_choice, list_figures, list_settings, name_libraries
from mira_batch.train.guards import Best

_SHOWN = {
    "reward_mean": "reward",
    "score_mean": "score by the judge of the reward",
    "sentinel_mean": "score by the sentinel",
    "edits_mean": "edits of a rollout",
    "entropy": "entropy (nats a token)",
    "clip_fraction": "share of clipped tokens",
    "kl": "KL to the reference (nats a token)",
    "agreement_mean": "difference of trainer and rollout (nats a token)",
    "sight": "sight (nats)",
}


def write_card(
    config: GrpoConfig,
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
        "learned": "adapter",
        **describe_choice(best, ended, iterations, validations),
        "base": config.model.weights,
        "began_with": config.model.adapter,
        "prompt": prompt_version(config.prompt.form),
        "data": config.edit.input.manifest,
        "data_digest": digest,
        "versions": {"mira_batch": __version__, **name_libraries()},
    }
    head = {
        "library_name": "peft",
        "base_model": config.model.weights,
        "tags": ["mira-batch", "image-editing", "policy", "grpo"],
    }
    lines = ["---", yaml.safe_dump(head, sort_keys=True, allow_unicode=True).rstrip(), "---"]
    lines += _write_page(config, result, iterations, validations)
    return "\n".join(lines), result


def _write_page(
    config: GrpoConfig,
    result: Mapping[str, Any],
    iterations: Sequence[Mapping[str, Any]],
    validations: Sequence[Mapping[str, Any]],
) -> list[str]:
    """The card below its header."""
    return [
        f"# A policy of image edits: adapter of {config.model.weights}",
        "",
        "Trained by `mira-batch train policy-grpo` on its own rollouts, with the editor in the loop. Of "
        f"{len(iterations):,} iterations this is the adapter after {result['iteration']:,}: {result['why']}. "
        f"{result['ended']}",
        "",
        "```yaml",
        "policy:",
        "  type: qwen_vl",
        f"  weights: {config.model.weights}",
        "  adapter:",
        f"    weights: {config.output.uri}/adapter",
        "```",
        "",
        f"The prompt must be the one that it was trained with: `{result['prompt']}`, with the settings "
        "`prompt` below.",
        "",
        *_show_validations(validations),
        "## Iterations",
        "",
        "| figure | of the first | of the last |",
        "|---|---|---|",
        *list_figures(iterations, _SHOWN),
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
    rows = [
        f"| {each['iteration']:,} | {each['success']:.4f} | {each['score']:.4f} | {each['records']:,} | "
        f"{each['left_out']:,} |"
        for each in validations
    ]
    return [
        "## Held-out records, greedy",
        "",
        "| iterations | success | score | records | left out |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]
