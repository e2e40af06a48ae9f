from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mira_batch.core.identity import content_hash, fingerprint, frame_of, seed, work_id

any_text = st.text(st.characters(exclude_categories=()))
parts = st.lists(any_text | st.binary(), max_size=4)
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
settings = st.dictionaries(st.text(), json_data, max_size=4)


def as_bytes(part: str | bytes) -> bytes:
    return part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part


@given(parts, parts)
def test_hashes_are_equal_exactly_when_the_parts_are(
    left: list[str | bytes], right: list[str | bytes]
) -> None:
    same = [as_bytes(part) for part in left] == [as_bytes(part) for part in right]
    assert (content_hash(*left) == content_hash(*right)) == same


@given(parts.filter(lambda some: len(some) > 1))
def test_joined_parts_are_other_parts(some: list[str | bytes]) -> None:
    joined = b"".join(as_bytes(part) for part in some)
    assert content_hash(*some) != content_hash(joined)


@given(settings, st.randoms(use_true_random=False))
def test_a_fingerprint_survives_order_and_json(data: dict[str, object], shuffler: random.Random) -> None:
    items = list(data.items())
    shuffler.shuffle(items)
    assert fingerprint(dict(items)) == fingerprint(data)
    assert fingerprint(json.loads(json.dumps(data))) == fingerprint(data)


@given(any_text, any_text, any_text, any_text)
def test_a_work_id_is_safe_as_a_path(record: str, image: str, instruction: str, pipeline: str) -> None:
    name = work_id(record, image, instruction, pipeline)
    assert len(name) == 32
    assert set(name) <= set("0123456789abcdef")


@given(any_text, st.integers(0, 1000), st.integers(0, 100))
def test_a_seed_fits_63_bits_and_depends_on_its_arguments_alone(work: str, step: int, attempt: int) -> None:
    drawn = seed(work, "editor", step, attempt)
    assert 0 <= drawn < 2**63
    assert drawn == seed(work, "editor", step, attempt)
    assert len({drawn, seed(work, "policy", step, attempt), seed(work, "editor", step, attempt + 1)}) == 3


@given(st.sampled_from(["RGB", "RGBA"]), st.integers(1, 4), st.integers(1, 4), st.data())
def test_one_changed_byte_changes_the_frame(mode: str, width: int, height: int, data: st.DataObject) -> None:
    length = width * height * len(mode)
    pixels = bytearray(data.draw(st.binary(min_size=length, max_size=length)))
    before = frame_of(Image.frombytes(mode, (width, height), bytes(pixels)))
    place = data.draw(st.integers(0, length - 1))
    pixels[place] ^= data.draw(st.integers(1, 255))
    assert frame_of(Image.frombytes(mode, (width, height), bytes(pixels))).digest != before.digest
