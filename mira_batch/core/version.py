"""The version of the package, which every run notes in its `run.json`."""

__version__ = "0.1.0"
