"""Editors that run a pipeline of diffusers in the worker.

Owns loading, canvas, seeds, batches, adapters and speed; what is particular to a family of pipelines is in
`pipelines/`. Leaves memory and devices to torch_support/. torch and diffusers are imported when an editor is
built. `flows.py` says how a family is taught, and leaves the teaching to `train/editor/`.
"""

from mira_batch.models.diffusion.canvas import choose_canvas, fit
from mira_batch.models.diffusion.editor import DiffusersEditor
from mira_batch.models.diffusion.flows import PROMPT, SOURCE, TARGET, Flow, find_flow, shift_by_scheduler
from mira_batch.models.diffusion.loading import load_pipeline, load_transformer
from mira_batch.models.diffusion.loras import find_lora_file
from mira_batch.models.diffusion.pipelines.families import (
    check_pipeline_files,
    find_family,
    import_pipeline,
    read_index,
)

__all__ = [
    "PROMPT",
    "SOURCE",
    "TARGET",
    "DiffusersEditor",
    "Flow",
    "check_pipeline_files",
    "choose_canvas",
    "find_family",
    "find_flow",
    "find_lora_file",
    "fit",
    "import_pipeline",
    "load_pipeline",
    "load_transformer",
    "read_index",
    "shift_by_scheduler",
]
