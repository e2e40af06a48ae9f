"""What several tests share: servers, models and runs."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
