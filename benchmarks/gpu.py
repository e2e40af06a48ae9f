"""`python -m benchmarks.gpu`: what the paper's models take on this GPU, through our own policy and editor.

Random weights at the real sizes: Qwen2.5-VL-7B, FLUX.1-Kontext (12B) at 28 steps. Without a GPU it says so
and does nothing. `--rehearse` runs all of it in small on the CPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.gpu_models import REAL, SMALL, Sizes, write_editor, write_policy
from mira_batch.config.models.local import DiffusersConfig, QwenVLConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, PolicyRequest
from mira_batch.core.types import Frame, Weights
from mira_batch.models.serving.outcome import is_out_of_memory

RESULTS = Path(__file__).parent / "results-gpu.json"
SPEED: dict[str, dict[str, Any]] = {
    "cache taylorseer": {"speed": {"cache": "taylorseer"}},
    "cache magcache": {"speed": {"cache": "magcache"}},
    "cache first_block": {"speed": {"cache": "first_block"}, "max_batch": 1},
    "int8 weights": {"speed": {"quantization": "int8"}},
    "float8 weights": {"speed": {"quantization": "float8"}},
    "VAE in tiles": {"speed": {"vae_tiling": True}},
    "8 steps, as distilled": {"steps": 8},
    "offload model": {"offload": "model"},
    "attention flash 3": {"speed": {"attention": "_flash_3"}},
    # Last: what is compiled once slows the others of this process down.
    "compile": {"speed": {"compile": True}},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    what: str
    side: int
    batch: int
    seconds: float
    """Of one call."""
    share: float | None
    """Of the device's measured matrix rate; None where it isn't counted."""
    memory: float
    """Most memory of the device in use, in GB."""
    note: str = ""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--rehearse", action="store_true", help="tiny models on the CPU: only shows that it works"
    )
    rehearse = parser.parse_args(arguments).rehearse
    import torch

    if not torch.cuda.is_available() and not rehearse:
        print("No CUDA device here: nothing is measured. docs/benchmarks.md has what was measured elsewhere.")
        return 0
    device, sizes = ("cpu", SMALL) if rehearse else ("cuda:0", REAL)
    console = Console(width=110)
    rate = matrix_rate(device, sizes.matrix)
    name = "CPU, in small" if rehearse else torch.cuda.get_device_name(0)
    console.print(f"{name}: {rate / 1e12:,.1f} TFLOP/s in bfloat16 products of {sizes.matrix}² matrices")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="mira-batch-gpu-") as scratch:
        for measure in (measure_policy, measure_editor):
            for row in measure(Path(scratch), sizes, device, rate):
                rows.append(row)
                console.print(line(row), markup=False)
    console.print(table(rows))
    if rehearse:
        return 0
    document = {"device": name, "matrix_tflops": rate / 1e12, "rows": [vars_of(row) for row in rows]}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def matrix_rate(device: str, side: int) -> float:
    """FLOP/s of square bfloat16 products: what the chip gives to the work it is best at."""
    import torch

    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = best(lambda: a @ b, device, times=10)
    return 2 * side**3 / seconds


def measure_policy(scratch: Path, sizes: Sizes, device: str, rate: float) -> Iterator[Row]:
    """Seconds of a policy's call by batch size and resolution: two images a request, one answer length."""
    from mira_batch.models.qwen.policy import QwenVLPolicy

    folder = scratch / "policy"
    write_policy(folder, sizes, device)
    free(device)
    settings = {"type": "qwen_vl", "weights": str(folder), "sampling": {"max_tokens": sizes.tokens}}
    policy = QwenVLPolicy(QwenVLConfig.model_validate(settings), Weights(str(folder), "random"), device)
    for side in sizes.sides:
        for batch in sizes.batches:
            requests = [
                PolicyRequest("r", "make the car red", noise(side, 2 * i), noise(side, 2 * i + 1), (), i)
                for i in range(batch)
            ]
            yield measured("policy", side, batch, partial(policy.propose, requests), device, None, rate)
            if batch > 1:
                again = [replace(requests[0], seed=number) for number in range(batch)]
                yield measured(
                    "policy, one state", side, batch, partial(policy.propose, again), device, None, rate
                )
    del policy
    shutil.rmtree(folder)  # both models at once may not fit on the disk
    free(device)


def measure_editor(
    scratch: Path, sizes: Sizes, device: str, rate: float, speed: Mapping[str, dict[str, Any]] = SPEED
) -> Iterator[Row]:
    """Seconds of an editor's call by batch size and resolution, then what each of `speed` gives."""
    folder = scratch / "editor"
    write_editor(folder, sizes, device)
    free(device)
    largest = sizes.sides[-1]
    editor = load_editor(folder, sizes, largest, {})
    flops = {largest: count_flops(editor, largest)}
    for batch in sizes.batches:
        yield edit("editor", editor, largest, batch, device, flops[largest], rate)
    del editor
    free(device)
    for side in sizes.sides[:-1]:
        editor = load_editor(folder, sizes, side, {})
        work = count_flops(editor, side)
        for batch in sizes.batches:
            yield edit("editor", editor, side, batch, device, work, rate)
        del editor
        free(device)
    for name, option in speed.items():
        editor = None
        try:
            editor = load_editor(folder, sizes, largest, option)
            yield edit(f"editor, {name}", editor, largest, 1, device, None, rate)
        except (ConfigError, RuntimeError) as error:
            yield Row(f"editor, {name}", largest, 1, float("nan"), None, 0.0, str(error).splitlines()[0])
        finally:
            del editor  # the next has the device to itself
            free(device)


def load_editor(folder: Path, sizes: Sizes, side: int, more: dict[str, Any]) -> Any:
    from mira_batch.models.diffusion.editor import DiffusersEditor

    settings = {
        "type": "diffusers",
        "pipeline": "diffusers.FluxKontextPipeline",
        "weights": str(folder),
        "steps": sizes.steps,
        "area": side * side,
        **more,
    }
    return DiffusersEditor(DiffusersConfig.model_validate(settings), Weights(str(folder), "random"), "auto")


def edit(what: str, editor: Any, side: int, batch: int, device: str, flops: float | None, rate: float) -> Row:
    requests = edits(side, batch)
    return measured(what, side, batch, lambda: editor.apply(requests), device, flops, rate)


def edits(side: int, batch: int) -> list[EditRequest]:
    return [EditRequest("r", "make the car red", f, f, i, 0) for i in range(batch) for f in (noise(side, i),)]


def count_flops(editor: Any, side: int) -> float:
    """Matrix operations of one edit, as torch counts them, text encoders and VAE included."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        editor.apply(edits(side, 1))
    return float(counter.get_total_flops())


def measured(
    what: str, side: int, batch: int, call: Callable[[], Any], device: str, flops: float | None, rate: float
) -> Row:
    """Time a call after a first one that isn't counted. One that doesn't fit in memory says so."""
    import torch

    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    try:
        check(call())
        seconds = best(call, device, times=2)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        free(device)
        return Row(what, side, batch, float("nan"), None, 0.0, "out of memory")
    memory = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else 0.0
    share = None if flops is None else flops * batch / seconds / rate
    return Row(what, side, batch, seconds, share, memory)


def check(answers: Sequence[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer


def best(call: Callable[[], Any], device: str, times: int) -> float:
    """Seconds of the fastest of some calls, each waited out."""
    import torch

    took = []
    for _ in range(times):
        if device != "cpu":
            torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - started)
    return min(took)


def free(device: str) -> None:
    import torch

    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()


def noise(side: int, seed: int) -> Frame:
    data = random.Random(seed).randbytes(side * side * 3)
    return frame_of(Image.frombytes("RGB", (side, side), data))


def vars_of(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Row.__slots__}


def line(row: Row) -> str:
    return f"{row.what} {row.side}² batch {row.batch}: {row.seconds:.3f} s {row.note}"


def table(rows: Sequence[Row]) -> Table:
    found = Table(title="seconds of one call")
    for name in ("model", "image", "batch", "s a call", "s an image", "of the matrix rate", "GB", ""):
        found.add_column(name, justify="left" if name in ("model", "") else "right")
    for row in rows:
        found.add_row(
            row.what,
            f"{row.side}²",
            str(row.batch),
            f"{row.seconds:.3f}",
            f"{row.seconds / row.batch:.3f}",
            "" if row.share is None else f"{row.share:.0%}",
            f"{row.memory:.1f}",
            escape(row.note[:40]),
        )
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
