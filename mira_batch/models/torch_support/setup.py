"""Torch made ready: what must happen before transformers or diffusers are imported, devices and dtypes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

_kept: list[Any] = []
"""Libraries of declared operators; they live as long as this list holds them."""


def prepare() -> None:
    """Make transformers and diffusers importable. Call it before either is; any further call does nothing.

    Qwen-VL processors need torchvision, whose wheels are mostly CUDA builds. Beside a CPU torch its C
    extension can't load, and `import torchvision` then fails since it describes operators that don't
    exist. Declaring the two without their kernels is enough: processors use its pure torch parts only.
    """
    if _kept:
        return
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    if not _extension_loads():
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)


def _extension_loads() -> bool:
    """Whether torchvision's operators are there, or come with its import."""
    import importlib.util
    from pathlib import Path

    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return True
    found = importlib.util.find_spec("torchvision")
    for folder in (found.submodule_search_locations if found else None) or []:
        for extension in Path(folder).glob("_C*"):
            try:
                torch.ops.load_library(str(extension))
                return True
            except OSError:  # built for another torch
                continue
    return False


def find_device(name: str) -> torch.device:
    """The device that a config names: auto (the first GPU, else the CPU), cpu or cuda:N.

    Raises:
        ConfigError: this process doesn't see that GPU.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and count == 0):
        return torch.device("cpu")
    wanted = re.fullmatch(r"auto|cuda(?::(\d+))?", name)
    if wanted is None:
        raise ConfigError(f"devices: {name!r} is no device; take auto, cpu or cuda:N")
    index = int(wanted[1] or 0)
    if index >= count:
        seen = (
            "no GPU" if count == 0 else f"{count} GPU{'s' if count > 1 else ''} (cuda:0 … cuda:{count - 1})"
        )
        raise ConfigError(
            f"devices: {name} was asked for, but this process sees {seen}; a worker sees as many GPUs as "
            f"workers.gpus gives it: set that to at least {index + 1}, or take another device"
        )
    return torch.device("cuda", index)


def find_dtype(name: str) -> torch.dtype:
    """The number format that a config names.

    Raises:
        ConfigError: torch has none of that name.
    """
    import torch

    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise ConfigError(f"dtype: torch has no {name!r}; take bfloat16, float16 or float32")
    return found
