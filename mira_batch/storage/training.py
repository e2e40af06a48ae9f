"""The files of a training's directory that others read, too."""

METRICS = "metrics.jsonl"
"""A line of figures for each step, iteration or validation."""
RESULT = "result.json"
"""How it ended; written last, so that it says that all else is there."""
