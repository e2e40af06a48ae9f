"""Samples: found, refused, and read in an order that is drawn beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError
from mira_batch.storage.samples import SAMPLES, VERSION_KEY
from mira_batch.train.samples import SampleReader, check_splits_apart, find_samples, order_samples
from tests.support.samples import make_sample, write_file, write_samples

STORAGE = StorageConfig()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("data"), train=30, val=4, group=4, files=2)


def test_what_is_there_is_counted(data: Path) -> None:
    train = find_samples(str(data), "train", STORAGE)
    assert len(train) == 30
    assert [file.groups for file in train.files] == [(4, 4, 4, 3), (4, 4, 4, 3)]
    assert sum(train.counts["kind"].values()) == 30
    assert len(find_samples(str(data), "val", STORAGE)) == 4


def test_they_may_lie_in_samples(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", train=3, val=0, files=1)
    assert len(find_samples(str(tmp_path), "train", STORAGE)) == 3


def test_an_epoch_has_each_sample_once_and_each_epoch_an_order_of_its_own(data: Path) -> None:
    train = find_samples(str(data), "train", STORAGE)
    orders = [order_samples(train, seed, epoch, 8).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        assert sorted(order) == list(range(30))
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert order_samples(train, 0, 0, 8).tolist() == orders[0]


def test_the_order_opens_no_more_row_groups_at_once_than_the_window_holds(data: Path) -> None:
    train = find_samples(str(data), "train", STORAGE)
    starts = np.array([first for _, _, first, _ in train.groups])
    order = order_samples(train, 0, 0, window=8)
    groups = np.searchsorted(starts, order, side="right") - 1
    for group in set(groups):  # from its first sample to its last at most the 8 + 3 of a window go by
        places = np.flatnonzero(groups == group)
        assert places[-1] - places[0] < 8 + 4


def test_a_sample_is_read_by_its_place(data: Path) -> None:
    train = find_samples(str(data), "train", STORAGE)
    reader = SampleReader(train, STORAGE, window=4)
    wanted = [29, 0, 14, 15, 16]  # files hold every second sample: 0, 2, 4 … and 1, 3, 5 …
    found = reader.read(wanted)
    assert [row["record_id"] for row in found] == ["r29", "r0", "r28", "r1", "r3"]
    assert found[0]["original"]["bytes"][:4] == b"\x89PNG"


@pytest.mark.parametrize("window", [1, 5, 8, 30])
def test_an_epoch_reads_each_row_group_once(data: Path, window: int) -> None:
    read: list[int] = []

    class Counting(SampleReader):
        def _read_group(self, number: int) -> pa.Table:
            read.append(number)
            return super()._read_group(number)

    train = find_samples(str(data), "train", STORAGE)
    reader = Counting(train, STORAGE, window)
    for place in order_samples(train, 3, 0, window).tolist():
        reader.read([place])
    assert sorted(read) == list(range(8))


def test_the_snapshot_is_known_by_its_samples_wherever_they_lie(data: Path, tmp_path: Path) -> None:
    same = find_samples(str(write_samples(tmp_path / "same", train=30, val=0)), "train", STORAGE)
    other = find_samples(str(write_samples(tmp_path / "other", train=29, val=0)), "train", STORAGE)
    found = find_samples(str(data), "train", STORAGE)
    assert found.digest == same.digest != other.digest


def test_nothing_there_is_an_error_that_says_what_should_be(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no samples of the split 'train'; it should hold train-\*\.parquet"
    ):
        find_samples(str(tmp_path), "train", STORAGE)


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    schema = SAMPLES.with_metadata({VERSION_KEY: "99"})
    write_file(tmp_path / "train-0.parquet", [make_sample(0)], schema=schema)
    with pytest.raises(ConfigError, match=r"train-0\.parquet: is of version '99'"):
        find_samples(str(tmp_path), "train", STORAGE)


def test_missing_columns_and_other_types_are_refused(tmp_path: Path) -> None:
    fields = [field for field in SAMPLES if field.name not in ("answer", "step")]
    schema = pa.schema([*fields, ("step", pa.string())])
    write_file(tmp_path / "train-0.parquet", [make_sample(0, step="1")], schema=schema)
    with pytest.raises(ConfigError, match=r"answer, step \(string in place of int32\)"):
        find_samples(str(tmp_path), "train", STORAGE)


def test_samples_of_another_split_are_refused(tmp_path: Path) -> None:
    write_file(tmp_path / "train-0.parquet", [make_sample(0), make_sample(1, "val")])
    with pytest.raises(ConfigError, match="hold samples of val, too"):
        find_samples(str(tmp_path), "train", STORAGE)


def test_no_image_is_in_both_splits(tmp_path: Path) -> None:
    write_file(tmp_path / "train-0.parquet", [make_sample(0), make_sample(1)])
    write_file(tmp_path / "val-0.parquet", [make_sample(5, "val", source_digest="train-1")])
    train, val = (find_samples(str(tmp_path), split, STORAGE) for split in ("train", "val"))
    with pytest.raises(
        ConfigError, match="1 source images have samples in train and in val, train-1 among them"
    ):
        check_splits_apart(train, val)


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    write_samples(tmp_path, train=8, val=0, files=1)
    train = find_samples(str(tmp_path), "train", STORAGE)
    write_file(tmp_path / "train-00000.parquet", [make_sample(n) for n in range(6)], group=3)
    with pytest.raises(ConfigError, match="row group 0 has 3 samples, and had 4 when"):
        SampleReader(train, STORAGE, 4).read([0])


def test_what_construct_writes_counts_once_it_is_whole_and_only_what_it_names(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", train=8, val=0, files=2)
    (tmp_path / "construct.json").write_text("{}")
    with pytest.raises(ConfigError, match="are not whole yet; run `mira-batch construct` again"):
        find_samples(str(tmp_path), "train", STORAGE)
    named = ["samples/train-00000.parquet"]
    marker = {"stage": "samples", "read": [], "files": named, "digest": "", "counts": {}}
    (tmp_path / "samples" / "stage.json").write_text(json.dumps(marker))
    assert len(find_samples(str(tmp_path), "train", STORAGE)) == 4
