"""Whether weights fit before they are loaded: what safetensors headers say against what is free.

A worker that runs out of memory while it loads is killed without a word on the CPU, and fails after minutes
on a GPU. Headers are read only, so that the answer is there at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

GB = 1e9
_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
"""Bytes of the formats that loading turns into the wanted one; any other keeps its own."""
_TARGETS = {"float32": 4, "float16": 2, "bfloat16": 2}
_USUAL = ("model.safetensors", "diffusion_pytorch_model.safetensors")
_CONTAINER = Path("/sys/fs/cgroup")
"""Where Linux says what this process's control group may take and has taken."""
_MAX_HEADER = 100_000_000
"""Longest header in bytes that the format allows."""


def list_weight_files(folder: Path) -> list[Path]:
    """The safetensors files that loading the model in `folder` reads: the shards of its index, else the file
    of the usual name, else all there are. Files may be missing; empty if there are none.

    Raises:
        ConfigError: the index can't be read.
    """
    indices = [path for path in sorted(folder.glob("*.safetensors.index.json")) if path.name.count(".") == 3]
    if indices:
        try:
            shards = set(json.loads(indices[0].read_text())["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise ConfigError(f"weights: {indices[0]} is no index of weights; copy them again") from error
        return [folder / shard for shard in sorted(shards)]
    for name in _USUAL:
        if (folder / name).is_file():
            return [folder / name]
    return sorted(folder.glob("*.safetensors"))


def count_loaded_bytes(files: Iterable[Path], dtype: str) -> int:
    """Bytes of the weights in `files` once they are loaded in `dtype`, by their headers.

    Raises:
        ConfigError: a file is missing, is no safetensors file, or is cut off.
    """
    total = 0.0
    for path in files:
        for entry in _header(path).values():
            start, end = entry["data_offsets"]
            stored = _FLOATS.get(entry["dtype"])
            total += (end - start) * (_TARGETS[dtype] / stored if stored else 1)
    return math.ceil(total)


def measure_free_memory(device: torch.device) -> int | None:
    """Bytes that this process could still take on a GPU, or of main memory; None where nobody says."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return measure_free_main_memory()


def check_memory(needed: int, device: torch.device, field: str, ways_out: str) -> None:
    """See that `needed` bytes of weights fit on the device now.

    Raises:
        ConfigError: they don't; says how much is missing, and what to change.
    """
    free = measure_free_memory(device)
    if free is None or needed <= free:
        return
    where = "main memory" if device.type == "cpu" else f"the memory of {device}"
    raise ConfigError(
        f"{field}: the weights take {needed / GB:.1f} GB, but only {free / GB:.1f} GB of {where} are free; "
        f"{ways_out}"
    )


def _header(path: Path) -> Mapping[str, Any]:
    """The tensors of a safetensors file: name -> {dtype, shape, data_offsets}."""
    if not path.is_file():
        raise ConfigError(f"weights: {path} is missing; copy the weights again")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _MAX_HEADER:
            raise ConfigError(f"weights: {path} is no safetensors file")
        text = file.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"weights: {path} is no safetensors file, or is damaged; copy it again") from error
    size, whole = path.stat().st_size, 8 + length + end
    if size != whole:
        raise ConfigError(f"weights: {path} has {size:,} bytes of {whole:,}; copy it again")
    return header


def measure_free_main_memory(group: Path = _CONTAINER) -> int | None:
    """Bytes that the machine has available, or the container where that is less (Linux only)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    available = int(values["MemAvailable"].split()[0]) * 1024
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, or "max": no limit
        return available
    # Files that were read, once or often, lie in the cache until something needs the room.
    cached = sum(int(stat.get(name, 0)) for name in ("active_file", "inactive_file"))
    return max(0, min(available, limit - used + cached))
