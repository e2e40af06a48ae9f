"""What the C library holds free is given back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

HOLD = """
import os
from mira_batch.core.memory import give_back_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

held = [bytes(2_000) + b"x" for _ in range(50_000)]
last = bytes(2_000) + b"y"
full = resident()
held.clear()
freed = resident()
give_back_memory()
print(full, freed, resident())
"""
"""100 MB of what is too large for the interpreter's own arenas, freed below something that stays."""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_what_was_freed_is_given_back() -> None:
    found = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, check=True)
    full, freed, after = map(int, found.stdout.split())
    assert freed > full - 10_000_000, "it kept it, so the test tests something"
    assert after < full - 80_000_000


def test_another_c_library_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    from mira_batch.core import memory

    class Musl:
        def __init__(self, name: str | None) -> None:
            pass

    monkeypatch.setattr(memory.ctypes, "CDLL", Musl)
    memory.give_back_memory()
