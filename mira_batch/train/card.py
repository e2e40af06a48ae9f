"""The card of what was learned: from what, how, and how well, for whoever is to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mira_batch.config.train import SftConfig
from mira_batch.core.prompt import prompt_version
from mira_batch.core.types import Weights
from mira_batch.core.version import __version__, name_versions
from mira_batch.train.guards import Best
from mira_batch.train.samples import SampleSet

_LIBRARIES = ("torch", "transformers", "trl", "peft")
_TITLES = {
    "loss": "training loss (nats a token)",
    "token_accuracy": "training token accuracy",
    "val_loss": "validation loss (nats a token)",
    "val_token_accuracy": "validation token accuracy",
    "sight": "sight (nats)",
}


def write_card(
    config: SftConfig,
    name: str,
    train: SampleSet,
    weights: Weights,
    metrics: Sequence[Mapping[str, Any]],
) -> tuple[str, dict[str, Any]]:
    """The card as Markdown with the hub's header, and the same as data.

    Args:
        config: of the training.
        name: of the folder that holds what was learned.
        train: the samples.
        weights: the base model's files.
        metrics: lines of metrics.jsonl.
    """
    result = {
        "learned": name,
        "base": config.model.weights,
        "base_identity": weights.identity,
        "prompt": prompt_version(config.prompt.form),
        "data": config.data.uri,
        "data_digest": train.digest,
        "samples": len(train),
        "samples_by": {column: dict(counts) for column, counts in train.counts.items()},
        "steps": metrics[-1]["step"],
        "figures": find_figures(metrics),
        "versions": {"mira_batch": __version__, **name_libraries()},
    }
    return _write_markdown(config, train, metrics, result), result


def _write_markdown(
    config: SftConfig, train: SampleSet, metrics: Sequence[Mapping[str, Any]], result: Mapping[str, Any]
) -> str:
    name = result["learned"]
    head = {
        "library_name": "peft" if name == "adapter" else "transformers",
        "base_model": config.model.weights,
        "tags": ["mira-batch", "image-editing", "policy", "sft"],
    }
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=True, allow_unicode=True).rstrip(),
        "---",
        f"# A policy of image edits: {name} of {config.model.weights}",
        "",
        "Trained by `mira-batch train policy-sft` to name the next atomic edit, or to stop, given a complex "
        "instruction, the original and the current image.",
        "",
        "```yaml",
        "policy:",
        "  type: qwen_vl",
        *_show_use(config, name),
        "```",
        "",
        "The prompt must be the one that it was trained with: "
        f"`{result['prompt']}`, with the settings `prompt` below.",
        "",
        "## Figures",
        "",
        "| figure | at the start | at the end |",
        "|---|---|---|",
        *list_figures(metrics, _TITLES),
        "",
        "Sight is the mean change of an answer's log-likelihood, in nats, when its images are blanked; at 0 "
        "the model would be blind. All figures by step are in `metrics.jsonl`.",
        "",
        "## Data",
        "",
        f"{len(train):,} samples of `{config.data.uri}`, snapshot `{train.digest}`.",
        "",
        *_show_counts(train),
        "",
        *list_settings(config.learning(), result["versions"]),
        f"- base weights `{result['base_identity']}`",
        "",
    ]
    return "\n".join(lines)


def _show_use(config: SftConfig, name: str) -> list[str]:
    place = f"{config.output.uri}/{name}"
    if name != "adapter":
        return [f"  weights: {place}"]
    return [f"  weights: {config.model.weights}", "  adapter:", f"    weights: {place}"]


def _show_counts(train: SampleSet) -> list[str]:
    return [
        f"- by {column}: " + ", ".join(f"{value} {number:,}" for value, number in counts.items())
        for column, counts in train.counts.items()
    ]


def list_figures(metrics: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[str]:
    """Rows of a card's table: the first and the last value of each figure.

    Args:
        metrics: lines of metrics.jsonl. A figure that one has not, or none of, is another's.
        titles: of the figures, by name.
    """
    values = {name: [line[name] for line in metrics if line.get(name) is not None] for name in titles}
    return [
        f"| {title} | {values[name][0]:.4f} | {values[name][-1]:.4f} |"
        for name, title in titles.items()
        if values[name]
    ]


def describe_choice(
    best: Best, ended: str, iterations: Sequence[Mapping[str, Any]], validations: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Which adapter a training by iterations gives, as data.

    Args:
        best: the adapter.
        ended: why the training ended, in words.
        iterations: figures of each.
        validations: figures of each.
    """
    by_iteration = {each["iteration"]: each for each in validations}
    return {
        "iteration": best.iteration,
        "why": best.why,
        "ended": ended,
        "iterations": len(iterations),
        "validation": by_iteration.get(best.iteration),
        "validation_at_start": by_iteration.get(0),
    }


def list_settings(learning: Mapping[str, Any], versions: Mapping[str, str]) -> list[str]:
    """The end of a card: what the training was asked, and what it was made with.

    Args:
        learning: everything that decided what is learned, as plain data.
        versions: of packages, by name.
    """
    return [
        "## Settings",
        "",
        "```yaml",
        yaml.safe_dump(dict(learning), sort_keys=True, allow_unicode=True).rstrip(),
        "```",
        "",
        "## Made with",
        "",
        *(f"- {library} {version}" for library, version in versions.items()),
    ]


def find_figures(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The last value of each figure.

    Args:
        metrics: lines of metrics.jsonl.
    """
    figures: dict[str, Any] = {}
    for line in metrics:
        figures |= {name: value for name, value in line.items() if name not in ("step", "samples")}
    return figures


def name_libraries(names: Sequence[str] = _LIBRARIES) -> dict[str, str]:
    """Versions of what a training rests on.

    Args:
        names: of packages.
    """
    from importlib.metadata import version

    return {**{name: version(name) for name in names}, "python": name_versions()["python"]}
