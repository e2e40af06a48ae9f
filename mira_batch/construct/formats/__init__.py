"""Samples in the formats of trainers of others.

Owns their rows and files (`docs/training-data.md` names each). A sample is put into words here,
by the prompt that the policy will be asked with; the words' version is in the `export.json` beside the files.
"""

from mira_batch.construct.formats.run import FORMATS, export_samples

__all__ = ["FORMATS", "export_samples"]
