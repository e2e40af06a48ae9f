from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image

from mira_batch.core.identity import content_hash, fingerprint, frame_of, seed, work_id
from tests.support import ROOT


def test_names_never_change() -> None:
    # Runs of earlier versions are continued by these names; a change needs a new PIPELINE_VERSION.
    assert content_hash("a", b"b") == "6a93c5780b9861cdd8d2761a748d9591"
    assert work_id("r1", "etag", "blur it", "p") == "5f408271ffeaeb1a3a263b6e97bd6aa7"
    assert fingerprint({"b": 1, "a": [None, "ü"]}) == "f6664b2bf3a1f86c23752e636ca83ebd"
    assert seed("w", "editor", 3, 1) == 5_117_784_594_138_574_986
    assert frame_of(Image.new("RGB", (2, 1), (1, 2, 3))).digest == "1529aa62abcaebac1aafac5c79f1621b"


def test_names_are_the_same_in_another_process() -> None:
    code = (
        "from mira_batch.core.identity import seed, work_id\n"
        "print(work_id('r', 'i', 't', 'p'), seed('w', 'd', 1, 2))"
    )
    here = f"{work_id('r', 'i', 't', 'p')} {seed('w', 'd', 1, 2)}\n"
    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout == here


def test_parts_never_run_into_each_other() -> None:
    assert content_hash("ab", "c") != content_hash("a", "bc")
    assert content_hash("a", "") != content_hash("a")
    assert content_hash("a") == content_hash(b"a")


def test_the_size_is_in_bytes() -> None:
    assert len(content_hash("a", size=8)) == 16
    assert len(content_hash("a")) == 32


def test_a_lone_surrogate_has_a_name_too() -> None:
    assert content_hash("\ud800") != content_hash("\ud801")


def test_a_fingerprint_is_of_the_settings_and_not_of_their_order() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})
    assert fingerprint({"a": None}) != fingerprint({})


@pytest.mark.parametrize("other", ["r2 i t p", "r i2 t p", "r i t2 p", "r i t p2"])
def test_every_part_of_the_work_counts(other: str) -> None:
    assert work_id(*other.split()) != work_id("r", "i", "t", "p")


def test_every_part_of_a_draw_counts() -> None:
    draws = [("w", "editor", 1, 2), ("v", "editor", 1, 2), ("w", "policy", 1, 2), ("w", "editor", 2, 2)]
    assert len({seed(*draw) for draw in [*draws, ("w", "editor", 1, 3)]}) == 5


def test_a_frame_is_named_by_mode_size_and_pixels() -> None:
    base = Image.new("RGB", (2, 3), (1, 2, 3))
    others = [
        Image.new("RGB", (3, 2), (1, 2, 3)),
        Image.new("RGB", (2, 3), (1, 2, 4)),
        Image.new("RGBA", (2, 3), (1, 2, 3, 255)),
        Image.new("RGBA", (2, 3), (1, 2, 3, 0)),
    ]
    assert len({frame_of(image).digest for image in [base, *others]}) == 5
    assert frame_of(base.copy()) == frame_of(base)
    assert frame_of(base).pixels is base
    assert frame_of(base).size == (2, 3)
