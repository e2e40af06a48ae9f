"""Names of exported files: those of their sources, and nothing that leads elsewhere."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mira_batch.export.names import OWN, find_format, name_after_record, name_after_source


@pytest.mark.parametrize(
    ("source", "roots", "format", "name"),
    [
        ("/shop/in/shoes/mug.png", ["/shop/in"], "png", "shoes/mug.png"),
        ("/shop/in/shoes/mug.JPG", ["/shop/in"], "jpeg", "shoes/mug.JPG"),
        ("/shop/in/mug.jpeg", ["/shop/in/"], "png", "mug.png"),
        ("/shop/in/a.b.tif", ["/shop", "/shop/in"], "png", "a.b.png"),
        ("/shop/in/noending", ["/shop/in"], "webp", "noending.webp"),
        ("/shop/in/.hidden", ["/shop/in"], "png", ".hidden.png"),
        ("/shop/in/50%25 off#1?.png", ["/shop/in"], "png", "50%25 off#1?.png"),
        ("/shop/inner/a.png", ["/shop/in"], "png", "shop/inner/a.png"),
        ("s3://b/cat/x/a.png", ["s3://b/cat"], "png", "x/a.png"),
        ("s3://b/cat/x/a.png", [], "png", "cat/x/a.png"),
        ("s3://b/cat/a#1?.png", ["s3://b/cat"], "png", "a#1?.png"),
        ("https://h/i/a.png?w=3#x", ["https://h/i"], "png", "a.png"),
        ("/shop/in/.mira-batch/1/plan.png", ["/shop/in"], "png", "%2Emira-batch/1/plan.png"),
    ],
)
def test_a_result_is_called_as_its_source(source: str, roots: list[str], format: str, name: str) -> None:
    assert name_after_source(source, roots, format) == name


def test_an_image_within_a_manifest_has_no_name() -> None:
    assert name_after_source("/in/m.parquet#row_group=0&row=3", ["/in"], "png") is None


@given(st.text(max_size=300), st.sampled_from(["png", "jpeg", "webp"]))
def test_no_source_leads_out(source: str, format: str) -> None:
    name = name_after_source(f"/root/{source}", ["/root"], format)
    if name is not None:
        parts = PurePosixPath(name).parts
        assert ".." not in parts and not name.startswith("/") and parts[0] != OWN and "\0" not in name


@given(st.text(max_size=300), st.text(max_size=300))
def test_names_of_records_are_flat_and_their_own(one: str, other: str) -> None:
    names = [name_after_record(record, None) for record in (one, other)]
    assert all("/" not in name and "." not in name and len(name) <= 200 for name in names)
    assert (names[0] == names[1]) == (one == other)


def test_the_format_of_a_source() -> None:
    assert find_format("a/b.JPE", "png") == "jpeg"
    assert find_format("a/b.tif", "webp") == "webp"
