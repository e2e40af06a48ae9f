"""Options of `speed` and offload, on tiny pipelines of the real classes."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from mira_batch.core.errors import ConfigError
from mira_batch.models.diffusion.pipelines.families import find_family
from mira_batch.models.diffusion.speed import check_speed, refuses_masks
from tests.support.models.pipelines import apart, build, config, request

pytestmark = pytest.mark.usefixtures("one_thread")


# Caches


@pytest.mark.parametrize(
    ("name", "cache"),
    [
        ("FluxKontextPipeline", "taylorseer"),
        ("FluxKontextPipeline", "magcache"),
        ("FluxKontextPipeline", "first_block"),
        ("QwenImageEditPlusPipeline", "taylorseer"),
        ("QwenImageEditPlusPipeline", "first_block"),
        ("Flux2KleinPipeline", "taylorseer"),
    ],
)
def test_a_cache_changes_pixels_but_leaves_nothing_behind(
    folders: dict[str, Path], name: str, cache: str
) -> None:
    most = {"max_batch": 1} if cache == "first_block" else {}
    guidance = 4.0 if "Qwen" in name else 1.0
    editor = build(folders, name, speed={"cache": cache}, guidance=guidance, **most)
    plain = build(folders, name, guidance=guidance)
    assert editor.identity != plain.identity
    (first,) = editor.apply([request(0)])
    if cache != "first_block":  # which skips nothing where the blocks' outputs move as much as here
        assert apart(first, plain.apply([request(0)])[0]) > 0
    assert apart(first, editor.apply([request(0)])[0]) == 0
    editor.apply([request(1)])
    assert apart(first, editor.apply([request(0)])[0]) == 0, "no other record's steps are in it"


def test_a_call_that_failed_leaves_nothing_in_the_cache(folders: dict[str, Path]) -> None:
    editor = build(folders, speed={"cache": "taylorseer"})
    (first,) = editor.apply([request(0)])
    steps: list[int] = []

    def fails_in_the_sixth(*_: Any) -> None:
        steps.append(1)
        if len(steps) == 6:
            raise RuntimeError("out of luck")

    hook = editor._pipe.transformer.register_forward_pre_hook(fails_in_the_sixth)
    with pytest.raises(RuntimeError, match="out of luck"):
        editor.apply([request(1)])
    hook.remove()
    assert apart(first, editor.apply([request(0)])[0]) == 0


@pytest.mark.parametrize("cache", ["taylorseer", "magcache"])
def test_a_cache_keeps_the_rows_of_a_batch_apart(folders: dict[str, Path], cache: str) -> None:
    editor = build(folders, speed={"cache": cache})
    first, _ = editor.apply([request(0), request(1)])
    again, _ = editor.apply([request(0), request(2)])
    assert apart(first, again) == 0


def test_a_cache_that_needs_batches_of_one_gets_them(folders: dict[str, Path]) -> None:
    assert build(folders).max_batch > 1
    assert build(folders, speed={"cache": "first_block"}, max_batch=1).max_batch == 1


def test_magcache_is_refused_where_nobody_measured_its_ratios(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"editor\.speed\.cache: magcache needs ratios"):
        build(folders, "Flux2KleinPipeline", speed={"cache": "magcache"})


def test_a_cache_that_fails_in_a_familys_blocks_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"first_block isn't known to work .*: taylorseer is"):
        build(folders, "Flux2KleinPipeline", speed={"cache": "first_block"}, max_batch=1)


def test_a_cache_is_refused_for_a_class_nobody_tried(folders: dict[str, Path]) -> None:
    settings = config(folders, speed={"cache": "taylorseer"})
    with pytest.raises(ConfigError, match=r"taylorseer isn't known to work with diffusers\.FluxKontext"):
        check_speed(settings, find_family("SomePipeline", {}), torch.device("cpu"))


# Compilation, attention, tiles, quantization, offload


@pytest.mark.parametrize("cache", ["taylorseer", "magcache", "first_block"])
def test_compiled_blocks_do_not_go_with_a_cache(folders: dict[str, Path], cache: str) -> None:
    with pytest.raises(ConfigError, match=rf"editor\.speed\.compile: .* speed\.cache {cache}"):
        build(folders, speed={"compile": True, "cache": cache}, max_batch=1)


def test_the_blocks_of_the_transformer_are_compiled(folders: dict[str, Path]) -> None:
    editor = build(folders, speed={"compile": True})
    blocks = [
        *editor._pipe.transformer.transformer_blocks,
        *editor._pipe.transformer.single_transformer_blocks,
    ]
    assert blocks
    # Running them takes half a minute here; docs/models.md has the times.
    assert all(block._compiled_call_impl is not None for block in blocks)


def test_an_attention_backend_is_set_and_gives_the_same_image(folders: dict[str, Path]) -> None:
    (plain,) = build(folders).apply([request(0)])
    gc.collect()
    editor = build(folders, speed={"attention": "_native_math"})
    used = {p._attention_backend for p in editor._pipe.transformer.attn_processors.values()}
    assert {backend.value for backend in used} == {"_native_math"}
    assert apart(plain, editor.apply([request(0)])[0]) <= 1


def test_a_process_has_one_attention_backend(folders: dict[str, Path]) -> None:
    gc.collect()
    first = build(folders, speed={"attention": "_native_math"})
    with pytest.raises(
        ConfigError, match=r"editor\.speed\.attention: the default was asked for, but another"
    ):
        build(folders)
    build(folders, speed={"attention": "_native_math"})
    alive = weakref.ref(first)
    del first
    gc.collect()
    assert alive() is None
    build(folders).apply([request(0)])
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry

    assert _AttentionBackendRegistry.get_active_backend()[0].value == "native"


def test_what_this_process_did_not_set_is_left_alone(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

    gc.collect()
    build(folders, speed={"attention": "_native_math"})
    gc.collect()
    build(folders)  # undoes it
    gc.collect()
    chosen = AttentionBackendName("_native_math")
    monkeypatch.setattr(_AttentionBackendRegistry, "_active_backend", chosen)
    build(folders)
    assert _AttentionBackendRegistry.get_active_backend()[0] is chosen


def test_a_diffusers_that_sets_backends_for_single_pipelines_will_do(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry

    gc.collect()
    build(folders, speed={"attention": "_native_math"})
    gc.collect()
    before = _AttentionBackendRegistry._active_backend
    with monkeypatch.context() as older:
        older.delattr(_AttentionBackendRegistry, "set_active_backend")
        build(folders)
    _AttentionBackendRegistry._active_backend = before
    gc.collect()
    build(folders, speed={"attention": "_native_math"})
    gc.collect()
    build(folders)
    assert _AttentionBackendRegistry.get_active_backend()[0].value == "native"


@pytest.mark.parametrize(
    ("backend", "message"),
    [("nothing", "must be one of"), ("flash", "flash-attn"), ("flash_hub", "would download code")],
)
def test_a_backend_that_is_not_there_is_named(folders: dict[str, Path], backend: str, message: str) -> None:
    gc.collect()
    with pytest.raises(ConfigError, match=rf"editor\.speed\.attention: .*{message}"):
        build(folders, speed={"attention": backend})


def test_backends_that_refuse_masks_are_known() -> None:
    refusing = ["flash", "flash_varlen", "_flash_3", "sage", "_native_flash"]
    assert all(refuses_masks(backend) for backend in refusing)
    assert not any(
        refuses_masks(backend) for backend in [None, "native", "_native_cudnn", "flex", "xformers"]
    )


@pytest.mark.parametrize("name", ["FluxKontextPipeline", "QwenImageEditPlusPipeline", "Flux2KleinPipeline"])
def test_tiles_are_switched_on(folders: dict[str, Path], name: str) -> None:
    assert not build(folders, name)._pipe.vae.use_tiling
    assert build(folders, name, speed={"vae_tiling": True})._pipe.vae.use_tiling


def test_quantization_without_its_package_says_what_to_install(folders: dict[str, Path]) -> None:
    try:
        import torchao  # noqa: F401
    except ImportError:
        with pytest.raises(
            ConfigError, match=r"editor\.speed\.quantization: int8 needs torchao: pip install"
        ):
            build(folders, speed={"quantization": "int8"})
    else:
        assert build(folders, speed={"quantization": "int8"}).apply([request(0)])[0].size == (64, 64)


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_needs_a_gpu(folders: dict[str, Path], offload: str) -> None:
    with pytest.raises(ConfigError, match=rf"editor\.offload: {offload} moves weights between"):
        build(folders, offload=offload)


def test_a_call_that_failed_leaves_no_part_on_the_gpu(folders: dict[str, Path]) -> None:
    """diffusers takes parts off the GPU at the end of a call that ends well; there is no GPU here."""
    editor = build(folders)
    editor._config = editor._config.model_copy(update={"offload": "model"})
    freed: list[int] = []
    free = editor._pipe.maybe_free_model_hooks
    editor._pipe.maybe_free_model_hooks = lambda: (freed.append(1), free())

    def fails(*_: Any) -> None:
        torch.empty(10**15)

    hook = editor._pipe.transformer.register_forward_pre_hook(fails)
    with pytest.raises(RuntimeError, match="memory"):
        editor.apply([request(0)])
    assert freed
    hook.remove()
    assert editor.apply([request(0)])[0].size == (64, 64)
