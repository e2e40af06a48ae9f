"""Tests. A package, so that test modules can share helpers: `from tests.support.runs.steplogs import …`."""
