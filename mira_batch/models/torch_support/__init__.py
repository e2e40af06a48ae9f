"""What every model run by torch in the worker needs: torch made ready, devices, number formats, room for
weights.

Leaves the models themselves, and what they do with their weights, to qwen/ and diffusion/. torch is imported
by the functions that need it.
"""

from mira_batch.models.torch_support.memory import check_memory, count_loaded_bytes, list_weight_files
from mira_batch.models.torch_support.setup import find_device, find_dtype, prepare

__all__ = [
    "check_memory",
    "count_loaded_bytes",
    "find_device",
    "find_dtype",
    "list_weight_files",
    "prepare",
]
