"""pyarrow without pandas, which it imports at its first array: a third of a second of each process, in case
the array is one of pandas'."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PANDAS = "pandas"


def defer_pandas() -> None:
    """Leave pandas out of this process until somebody imports it; from then on pyarrow knows it as always.

    Without effect where it is imported, or pyarrow has looked for it already.
    """
    if _PANDAS in sys.modules or any(isinstance(finder, _Arrival) for finder in sys.meta_path):
        return
    import pyarrow as pa

    refusal = _Refusal()
    sys.meta_path.insert(0, refusal)
    try:
        pa.array([])  # it looks for pandas once, and does without where there is none
    finally:
        sys.meta_path.remove(refusal)
    sys.meta_path.insert(0, _Arrival())


class _Refusal(MetaPathFinder):
    """Says to the thread that made it that there is no pandas."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == _PANDAS and threading.get_ident() == self._thread:
            raise ModuleNotFoundError("pandas is not wanted yet", name=name)
        return None


class _Arrival(MetaPathFinder):
    """Waits for the first import of pandas, and has pyarrow look again after it. Many only look whether it is
    there: that is none."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _PANDAS:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader  # of this spec alone
            loader.exec_module = partial(self._execute, loader.exec_module)
        return spec

    def _execute(self, execute: Callable[[ModuleType], None], module: ModuleType) -> None:
        execute(module)
        with suppress(ValueError):
            sys.meta_path.remove(self)
        import pyarrow.lib as lib

        with suppress(ImportError):  # a pandas that is too old: pyarrow does without, as always
            getattr(lib, "_pandas_api").pd  # noqa: B009, B018 - asked for it, pyarrow looks again
