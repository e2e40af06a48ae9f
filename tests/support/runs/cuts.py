"""A process that ends after some number of writes and deletions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mira_batch.storage.stores import Store


class Cut(Exception):
    """The process ends here."""


@contextmanager
def cut_off(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[list[str]]:
    """Inside, the last of so many objects is neither written nor deleted: the store raises `Cut`.

    Yields what was written and deleted so far, in words.
    """
    told: list[str] = []

    def count(what: str, key: str) -> None:
        if len(told) + 1 >= after:
            raise Cut
        told.append(f"{what} {key}")

    def counting(method: Any) -> Any:
        def call(self: Store, *args: Any, **more: Any) -> Any:
            if method.__name__ == "delete":
                for key in list(args[0]):
                    count("delete", self.locate(key))
                    method(self, [key])
                return None
            count(method.__name__, self.locate(args[0]))
            return method(self, *args, **more)

        return call

    with monkeypatch.context() as patched:
        for name in ("put", "create", "delete"):
            patched.setattr(Store, name, counting(getattr(Store, name)))
        yield told
