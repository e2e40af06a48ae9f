"""Fixtures that several test folders share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.s3 import S3Server, s3_server

# Ray's workers leave the processor to all others, so beside other tests they would hardly get any.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server, one for the whole session; each test uses a prefix of its own."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the tiny models of the real classes, written once: qwen2.5-vl, qwen3-vl, the pipelines."""
    import torch

    from mira_batch.models.tiny import make_tiny

    torch.set_num_threads(1)  # models this small only wait for one another's threads
    directory = tmp_path_factory.mktemp("tiny")
    make_tiny(directory)
    return directory


@pytest.fixture(scope="session")
def folders(tiny_models: Path) -> dict[str, Path]:
    """Directories of the tiny pipelines, by the name of their class."""
    from mira_batch.models.tiny.diffusion import PIPELINES

    return {name: tiny_models / name for name in PIPELINES}


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Layers this small are done sooner by one thread, and by far on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
