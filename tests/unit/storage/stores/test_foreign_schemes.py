"""File systems of schemes that are not ours: what their clients raise is told from what may pass."""

from __future__ import annotations

import copy
import importlib.util
from typing import Any

import aiohttp
import fsspec
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.filesystems import open_filesystem


class Shaky(fsspec.AbstractFileSystem):
    """Raises what its location names."""

    protocol = "shaky"
    cachable = False

    def info(self, path: str, **_: Any) -> Any:
        match path.rsplit("/", 1)[-1]:
            case "passing":
                raise aiohttp.ClientPayloadError("cut short")
            case "missing":
                raise FileNotFoundError(path)
            case _:
                raise RuntimeError("of a class of its own")


class Needy(Shaky):
    """Can't be made without what no location gives."""

    protocol = "needy"

    def __init__(self, host: str, **more: Any) -> None:
        super().__init__(host=host, **more)


for _kind in (Shaky, Needy):
    fsspec.register_implementation(_kind.protocol, _kind, clobber=True)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("passing", aiohttp.ClientPayloadError, "cut short"),
        ("missing", FileNotFoundError, "missing"),
        ("odd", OSError, "RuntimeError: of a class of its own"),
    ],
)
def test_what_may_pass_keeps_its_class(name: str, kind: type[Exception], words: str) -> None:
    fs, path = open_filesystem(f"shaky://host/{name}", StorageConfig())
    with pytest.raises(kind, match=words) as error:
        fs.info(path)
    assert type(error.value) is kind
    assert copy.copy(fs).protocol == "shaky"


def test_one_that_can_not_be_made_says_so() -> None:
    with pytest.raises(StoreError, match=r"^needy://x/a: can't use this scheme: .*host"):
        open_filesystem("needy://x/a", StorageConfig())


@pytest.mark.parametrize(
    ("uri", "package", "extra"), [("gs://x/a", "gcsfs", "gcs"), ("az://x/a", "adlfs", "azure")]
)
def test_one_whose_package_is_missing_names_the_extra(uri: str, package: str, extra: str) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(StoreError, match=rf"^{uri}: can't use .*: pip install 'mira-batch\[{extra}\]'$"):
        open_filesystem(uri, StorageConfig())
