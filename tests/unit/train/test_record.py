"""What a training writes once: another one's is never written over, and never taken for its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.config.train import SftConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.storage.stores import open_store
from mira_batch.train.record import claim, claim_base, claim_output, put_once, read_result

CONFIG = SftConfig.model_validate(
    {"model": {"weights": "/m"}, "data": {"uri": "/d"}, "output": {"uri": "/o"}, "epochs": 1}
)


def test_settings_and_data_must_be_those_that_it_was_begun_with(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StorageConfig())
    claim_output(store, CONFIG, {"train": "a", "val": "b"})
    claim_output(store, CONFIG.model_copy(update={"log_every": 1, "validation": None}), {"train": "a"})
    other = CONFIG.model_copy(update={"seed": 1, "epochs": 2})
    store.put("checkpoints/1/model", b"")
    with pytest.raises(RunConflict, match=r"\(learning\.epochs, learning\.seed, data\.train\)"):
        claim_output(store, other, {"train": "c", "val": "b"})


def test_settings_that_nothing_rests_on_yet_can_be_mended(tmp_path: Path) -> None:
    """Weights that can't be loaded, say: the output is noted as theirs before that shows."""
    store, mended = open_store(str(tmp_path), StorageConfig()), CONFIG.model_copy(update={"seed": 1})
    claim_output(store, CONFIG, {"train": "a"})
    claim_base(store, "blake2b:1", "model.weights")
    claim_output(store, mended, {"train": "a"})
    claim_base(store, "blake2b:2", "model.weights")
    store.put("encoded/a", b"")
    with pytest.raises(RunConflict, match=r"\(learning\.seed\)"):
        claim_output(store, CONFIG, {"train": "a"})


def test_the_result_of_something_else_is_no_place_to_begin(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StorageConfig())
    store.put("result.json", b"{}")
    with pytest.raises(RunConflict, match="holds the result of something else"):
        claim_output(store, CONFIG, {"train": "a"})
    assert not store.exists("train.json"), "and nothing is written there"


def test_it_goes_on_from_the_weights_that_it_began_from(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StorageConfig())
    claim_base(store, "blake2b:1", "model.weights")
    claim_base(store, "blake2b:1", "model.weights")
    with pytest.raises(RunConflict, match="was begun from other weights"):
        claim_base(store, "blake2b:2", "model.weights")


def test_a_file_is_put_once(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StorageConfig())
    put_once(store, "adapter/a", b"1")
    put_once(store, "adapter/a", b"1")
    with pytest.raises(RunConflict, match="is there with other bytes"):
        put_once(store, "adapter/a", b"2")
    assert store.get("adapter/a") == b"1"


def test_what_an_earlier_release_did_not_note_is_not_held_against_it(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StorageConfig())
    claim(store, "grpo.json", {"seed": 1}, {}, {})
    claim(store, "grpo.json", {"seed": 1, "input": {"max_pixels": 9}}, {}, {})
    claim(store, "nft.json", {"seed": 1, "input": {"max_pixels": 9}}, {}, {})
    with pytest.raises(RunConflict, match=r"\(learning\.input\)"):
        claim(store, "nft.json", {"seed": 1, "input": {"max_pixels": 8}}, {}, {})


@pytest.mark.parametrize("text", ["{", "[]", "{}", ""])
def test_settings_that_are_damaged_are_named_with_what_helps(tmp_path: Path, text: str) -> None:
    store = open_store(str(tmp_path), StorageConfig())
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(
        StoreError, match=r"train.json: is damaged \(.*restore it, or name another output.uri"
    ):
        claim(store, "train.json", {"seed": 1}, {}, {})


def test_a_result_that_is_damaged_is_named_with_what_helps(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StorageConfig())
    assert read_result(store) is None
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(
        StoreError, match=r"result.json: is damaged \(.*; delete it, and run the same command"
    ):
        read_result(store)
