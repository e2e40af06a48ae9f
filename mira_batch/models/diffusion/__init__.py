"""Editors that run a pipeline of diffusers in the worker.

Owns loading, canvas, seeds, batches, adapters and speed; what is particular to a family of pipelines is in
`pipelines/`. Leaves memory and devices to torch_support/. torch and diffusers are imported when an editor is
built.
"""

from mira_batch.models.diffusion.editor import DiffusersEditor
from mira_batch.models.diffusion.pipelines.families import check_pipeline_files

__all__ = ["DiffusersEditor", "check_pipeline_files"]
