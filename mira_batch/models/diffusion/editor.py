"""An editor that runs a pipeline of diffusers in the worker.

Owns what all pipelines have in common: loading and its checks, the canvas, seeds, batches. What is particular
to a family of pipelines is in `pipelines/`.

A record's pixels are drawn from its own seed. Its neighbours in a batch don't reach it except by the order
in which sums are taken: a batch against single calls differs by about 1e-6 of the range in float32, in
bfloat16 by less than that format's own rounding does; with the same batch size and other neighbours it is
bitwise the same for FLUX.1.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from mira_batch.config.models.local import DiffusersConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.ports import EditRequest
from mira_batch.core.types import Weights
from mira_batch.models.diffusion import canvas, speed, warmup
from mira_batch.models.diffusion.loading import load_pipeline
from mira_batch.models.diffusion.loras import add_loras
from mira_batch.models.diffusion.pipelines.batch import (
    Batch,
    Family,
    Settings,
    read_outcomes,
    read_parameters,
    watch,
)
from mira_batch.models.diffusion.pipelines.families import (
    check_pipeline_files,
    find_family,
    import_pipeline,
    read_index,
)
from mira_batch.models.diffusion.pipelines.qwen_edit import check_options
from mira_batch.models.diffusion.schedulers import set_scheduler
from mira_batch.models.serving import free_memory
from mira_batch.models.torch_support import (
    check_memory,
    count_loaded_bytes,
    find_device,
    list_weight_files,
    prepare,
)

_FULL_GPU = 800_000
"""Pixels from which one image keeps a GPU busy: at 1024² a batch of two is 1.02 times as fast as one after
the other, at 512² one of eight is 3.14 times."""


class DiffusersEditor:
    """A `core.ports.Editor`. One call at a time: a pipeline and its scheduler hold state.

    Raises:
        ConfigError: the class, the weights, the memory, an adapter or an option isn't as configured; on a GPU
            also whatever a first call of the pipeline shows.
    """

    def __init__(
        self, config: DiffusersConfig, weights: Weights, device: str, loras: Sequence[Weights] = ()
    ) -> None:
        prepare()
        import torch

        self._config = config
        self._device = find_device(device)
        path = Path(weights.path)
        kind = import_pipeline(config.pipeline)
        folders = check_pipeline_files(path, config.pipeline)
        self._family = find_family(config.pipeline.rpartition(".")[2], read_index(path))
        speed.check_speed(config, self._family, self._device)
        _check_memory(config, folders, self._device)

        steps = self._family.steps if config.steps is None else config.steps
        guidance = self._family.guidance if config.guidance is None else config.guidance
        self._settings = Settings(steps, guidance, config.negative_prompt, config.options)
        self.identity = _write_identity(config, weights, loras, self._settings)
        self._pipe = load_pipeline(
            kind, path, config.pipeline, config.dtype, **speed.choose_quantization(config.speed)
        )
        _check_options(self._pipe, self._family, config)
        set_scheduler(self._pipe, config.scheduler)
        add_loras(self._pipe, loras, config.loras)
        try:
            speed.place(self._pipe, config, self._device)
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"editor.weights: no room on {self._device}: {error}; {_GPU_WAYS_OUT}"
            ) from error
        if self._family.prepare:
            self._family.prepare(self._pipe)
        speed.speed_up(self._pipe, config, steps)
        self._pipe.set_progress_bar_config(disable=True)
        self._finite = watch(self._pipe)
        self.max_batch = _choose_max_batch(config, self._family)
        self._counter = _make_prompt_counter(self._pipe, config, self._family)
        self._threads = torch.get_num_threads()
        # On the device's default stream the kernels of two models of one process would wait for each other.
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        if self._device.type == "cuda":  # on a CPU it would double the time of a small job
            self.warm_up()

    def bucket(self, request: EditRequest) -> Hashable:
        """The canvas; and the length of the prompt where attention takes no mask."""
        size = self._choose_canvas(request)
        return (size, self._counter(request.instruction)) if self._counter else size

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[Image.Image | Exception]:
        """Edit each request's image on the canvas of its trajectory.

        Requests of different buckets are never in one call of the pipeline, which would silently stretch
        them to the size of the first.
        """
        buckets: dict[Hashable, list[int]] = {}
        for index, request in enumerate(requests):
            buckets.setdefault(self.bucket(request), []).append(index)
        answers: dict[int, Any] = {}
        together = (
            self.max_batch if _resolve_batching(self._config, self._family) == "none" else len(requests)
        )
        for members in buckets.values():
            for start in range(0, len(members), together):
                part = members[start : start + together]
                answers |= dict(zip(part, self._edit([requests[i] for i in part]), strict=True))
        return [answers[index] for index in range(len(requests))]

    def warm_up(self) -> None:
        """Edit one square image of `area` pixels in the fewest steps, and forget it.

        Raises:
            ConfigError: the call failed, or gave no numbers; every record would.
        """
        steps = min(warmup.STEPS, self._settings.steps or warmup.STEPS)
        settings, request = replace(self._settings, steps=steps), warmup.make_probe(self._config.area)
        warmup.check_call(
            lambda: self._edit([request], settings),
            self._finite,
            self._config,
            str(self._device),
            _GPU_WAYS_OUT,
        )
        speed.forget_steps(self._pipe)
        free_memory()  # what torch keeps for the next call would count as taken when the next model is loaded

    def restore(self, image: Image.Image, original: Image.Image) -> Image.Image:
        """The result of a trajectory at the original's size, with its transparency."""
        return canvas.restore(image, original)

    def _choose_canvas(self, request: EditRequest) -> tuple[int, int]:
        family = self._family
        return canvas.choose_canvas(
            request.original.size, self._config.area, family.multiple, family.min_side
        )

    def _edit(self, requests: Sequence[EditRequest], settings: Settings | None = None) -> list[Any]:
        """One call of the pipeline, for requests of one bucket."""
        import torch

        size = self._choose_canvas(requests[0])
        batch = Batch(
            [canvas.fit(request.image.pixels, size) for request in requests],
            [request.instruction for request in requests],
            # A generator of its own on the CPU: one that is shared gives a row what its neighbours left, and
            # a GPU's depends on the GPU.
            [
                torch.Generator("cpu").manual_seed(request.seed & 0x7FFF_FFFF_FFFF_FFFF)
                for request in requests
            ],
        )
        if self._device.type == "cpu":
            torch.set_num_threads(self._threads)  # in this thread too: sums depend on it
        speed.forget_steps(self._pipe)
        self._finite.clear()
        with self._use_stream(), torch.inference_mode():
            try:
                output = self._family.call(self._pipe, batch, settings or self._settings)
            finally:
                # Pipelines do so themselves where they end well only. After a call that ran out of memory,
                # the part it was in would stay on the GPU, and leave the next call no room.
                if self._config.offload == "model":
                    self._pipe.maybe_free_model_hooks()
            return read_outcomes(output, self._finite, len(requests))

    def _use_stream(self) -> AbstractContextManager[Any]:
        import torch

        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


_WAYS_OUT = "set speed.quantization: int8 or dtype: bfloat16, or take a machine with more memory"
_GPU_WAYS_OUT = (
    "set speed.quantization: int8, offload: model, or dtype: bfloat16, or take a device with more memory, or "
    "give the policy another GPU (policy.devices), or vllm less of this one (policy.gpu_memory_fraction)"
)


def _check_memory(config: DiffusersConfig, folders: dict[str, Path], device: Any) -> None:
    """See that the weights fit in main memory, where they are read to, and on the device."""
    import torch

    sizes = {
        name: count_loaded_bytes(list_weight_files(folder), config.dtype) for name, folder in folders.items()
    }
    if config.speed.quantization != "none" and "transformer" in sizes:
        sizes["transformer"] //= 4 if config.dtype == "float32" else 2
    check_memory(sum(sizes.values()), torch.device("cpu"), "editor.weights", _WAYS_OUT)
    if device.type == "cuda" and config.offload != "sequential":
        needed = sum(sizes.values()) if config.offload == "none" else max(sizes.values(), default=0)
        check_memory(needed, device, "editor.weights", _GPU_WAYS_OUT)


def _check_options(pipe: Any, family: Family, config: DiffusersConfig) -> None:
    if taken := sorted(family.reserved & config.options.keys()):
        raise ConfigError(f"editor.options: {', '.join(taken)} follows from editor.area; set that")
    if family.masks:
        check_options(config.options)
        return
    names, others = read_parameters(pipe)
    if not others and (unknown := sorted(config.options.keys() - names)):
        raise ConfigError(
            f"editor.options: {', '.join(unknown)} can't be given to {config.pipeline}; it takes "
            f"{', '.join(sorted(names))}"
        )
    if missing := sorted({"image", "prompt", "generator"} - names):
        raise ConfigError(
            f"editor.pipeline: {config.pipeline} takes no {', '.join(missing)}: it is no editor"
        )


def _resolve_batching(config: DiffusersConfig, family: Family) -> str:
    """per_sample or none: whether a call may hold several requests.

    References that are shared are told apart by the known families only.
    """
    asked = config.batching or family.batching
    if asked == "shared_refs":
        return "per_sample" if family.batching == "shared_refs" else "none"
    if asked == "per_sample" and family.batching == "shared_refs":
        return "per_sample"
    return asked


def _choose_max_batch(config: DiffusersConfig, family: Family) -> int:
    if _resolve_batching(config, family) == "none" or config.speed.cache == "first_block":
        return 1
    return 1 if config.area >= _FULL_GPU else max(1, min(8, round(8 * 512 * 512 / config.area)))


def _make_prompt_counter(pipe: Any, config: DiffusersConfig, family: Family) -> Any:
    """Counts the tokens of a prompt, where prompts of different length can't share a batch."""
    if not family.masks or not speed.refuses_masks(config.speed.attention):
        return None
    import copy

    # A copy, since a tokenizer can't be used by two threads, and buckets are asked for by the event loop.
    tokenizer = copy.deepcopy(pipe.tokenizer)
    return lambda prompt: len(tokenizer(prompt).input_ids)


def _write_identity(
    config: DiffusersConfig, weights: Weights, loras: Sequence[Weights], settings: Settings
) -> str:
    import diffusers
    import transformers

    adapters = zip(loras, config.loras, strict=True)
    decisive = {
        "steps": settings.steps,
        "guidance": settings.guidance,
        "negative_prompt": settings.negative_prompt,
        "area": config.area,
        "dtype": config.dtype,
        "options": settings.options,
        "scheduler": config.scheduler,
        "loras": [[lora.identity, adapter.file, adapter.scale] for lora, adapter in adapters],
        "speed": config.speed.model_dump(mode="json"),
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }
    return f"{config.pipeline} {weights.identity} {json.dumps(decisive, sort_keys=True)}"
