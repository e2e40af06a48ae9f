"""A place of promotions: numbered, created once, and never believed when something is wrong with it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mira_batch.cli import app, main
from mira_batch.config.models.local import PromptConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RunConflict, StoreError
from mira_batch.storage.promotions import (
    Promotion,
    check_adapter,
    check_base,
    list_numbers,
    open_place,
    put_promotion,
    read_promotion,
)
from mira_batch.storage.stores import Store, open_store
from mira_batch.storage.weights import digest_weights
from mira_batch.train.flywheel.promote import list_promotions, promote_anew

STORAGE = StorageConfig()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Store]:
    yield open_store(str(tmp_path / "promoted"), STORAGE)


@pytest.fixture
def murmur(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What commands say on standard error, which is theirs since they were imported."""
    said = io.StringIO()
    monkeypatch.setattr(app.err, "file", said)
    return said


def make_model(folder: Path, text: str = "{}") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(text)
    return folder


def make_promotion(folder: Path, name: str = "a") -> Promotion:
    base, adapter = folder / "base", make_model(folder / name, json.dumps({"of": name}))
    base = base if base.exists() else make_model(base)
    return Promotion(
        adapter=str(adapter),
        digest=digest_weights(adapter),
        base=str(base),
        base_identity=digest_weights(base),
        prompt=PromptConfig(form="short").model_dump(mode="json"),
        why=f"{name} is better",
    )


def test_the_highest_number_is_current(place: Store, tmp_path: Path) -> None:
    assert read_promotion(place) is None
    first = put_promotion(place, make_promotion(tmp_path, "a"), after=0)
    second = put_promotion(place, make_promotion(tmp_path, "b"), after=1)
    assert (first.number, second.number) == (1, 2) and list_numbers(place) == [1, 2]
    assert read_promotion(place) == second and read_promotion(place, 1) == first
    assert first.at and first.by.count("@") == 1


def test_what_has_no_number_of_a_promotion_is_none(place: Store, tmp_path: Path) -> None:
    made = put_promotion(place, make_promotion(tmp_path), after=0)
    for name in ("000000.json", "0000002.json", "00003.json", "\u0660\u0660\u0660\u0660\u0660\u0664.json"):
        place.create(name, (place.get("000001.json") or b""))
    assert list_numbers(place) == [1] and read_promotion(place) == made


def test_of_two_at_once_one_promotes_and_the_other_is_told(place: Store, tmp_path: Path) -> None:
    rivals = [make_promotion(tmp_path, name) for name in "abcdefgh"]

    def promote(rival: Promotion) -> Promotion | str:
        try:
            return put_promotion(place, rival, after=0)
        except RunConflict as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(promote, rivals))
    (won,) = [each for each in found if isinstance(each, Promotion)]
    lost = [each for each in found if isinstance(each, str)]
    assert len(lost) == 7 and read_promotion(place) == won
    assert all(f"promotion 1 has come in between by {won.by}" in words for words in lost)
    assert all(won.adapter in words and "Nothing was promoted" in words for words in lost)


def test_what_was_decided_against_an_older_one_is_refused(place: Store, tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        put_promotion(place, make_promotion(tmp_path, name), after=number)
    with pytest.raises(RunConflict, match="promotion 3 has come in between"):
        put_promotion(place, make_promotion(tmp_path, "d"), after=1)
    assert list_numbers(place) == [1, 2, 3]


def test_rolling_back_promotes_an_earlier_one_anew(place: Store, tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        put_promotion(place, make_promotion(tmp_path, name), after=number)
    again = promote_anew(place.uri, 1, "b blurs faces", STORAGE)
    assert (again.number, again.again_of, again.why) == (3, 1, "b blurs faces")
    assert again.adapter == str(tmp_path / "a") and read_promotion(place) == again
    listed = list_promotions(place.uri, STORAGE)
    assert [(each["number"], each["again_of"]) for each in listed] == [(3, 1), (2, None), (1, None)]
    with pytest.raises(ConfigError, match="promotion 3 is current already"):
        promote_anew(place.uri, 3, "", STORAGE)
    with pytest.raises(ConfigError, match="has no promotion 9; there are 1 to 3"):
        promote_anew(place.uri, 9, "", STORAGE)
    (tmp_path / "b" / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not what was promoted as number 2"):
        promote_anew(place.uri, 2, "", STORAGE)
    assert len(list_numbers(place)) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"adapter": "x"', "Expecting"),
        ("[]", "it holds a list"),
        ('{"adapter": "x"}', "it lacks digest, base"),
        ('{"adapter": 7}', "it lacks adapter, digest"),
        (
            json.dumps(dict.fromkeys(("adapter", "digest", "base", "base_identity", "why", "at", "by"), ""))[
                :-1
            ]
            + ', "prompt": {"form": "odd"}}',
            "prompt.form: Input should be",
        ),
    ],
)
def test_a_damaged_one_is_refused_and_rolled_back_from(
    place: Store, tmp_path: Path, text: str, problem: str
) -> None:
    put_promotion(place, make_promotion(tmp_path), after=0)
    place.create("000002.json", text.encode())
    with pytest.raises(
        StoreError, match=rf"000002.json: is damaged \(.*{problem}.*mira-batch promote .* --to"
    ):
        read_promotion(place)
    assert [sorted(each)[-1] for each in list_promotions(place.uri, STORAGE)] == ["problem", "why"]
    assert promote_anew(place.uri, 1, "2 is damaged", STORAGE).number == 3
    current = read_promotion(place)
    assert current is not None and current.again_of == 1


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_who_lists_a_place_whose_current_one_is_damaged_is_told(
    place: Store,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    murmur: io.StringIO,
    as_json: list[str],
) -> None:
    put_promotion(place, make_promotion(tmp_path), after=0)
    place.create("000002.json", b'{"adapter": "x"')
    assert main(["promote", place.uri, *as_json]) == 2
    listed, said = capfd.readouterr().out, murmur.getvalue()
    assert "000002.json: is damaged" in listed and "a is better" in listed
    assert "damaged: promotion 2 can't be read and is current" in said
    assert f"Restore its file, or promote another: mira-batch promote {place.uri} --to 1, or" in said
    promote_anew(place.uri, 1, "", STORAGE)
    assert main(["promote", place.uri, *as_json]) == 0  # an earlier one is in nobody's way
    assert "000002.json: is damaged" in capfd.readouterr().out and murmur.getvalue() == said


def test_a_place_of_nothing_but_a_damaged_one_says_what_helps(place: Store, murmur: io.StringIO) -> None:
    place.create("000001.json", b"")
    assert main(["promote", place.uri]) == 2
    assert f"or promote another: mira-batch promote {place.uri} ADAPTER" in murmur.getvalue()


def test_an_empty_place_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such directory; check the name, or promote"):
        open_place(str(tmp_path / "nowhere"), STORAGE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="has no promotion yet; .* leave policy.adapter out"):
        open_place(str(tmp_path / "empty"), STORAGE)


@pytest.mark.parametrize("more", [[], ["--to", "1"]])
def test_a_place_that_is_a_file_is_called_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], more: list[str]
) -> None:
    (tmp_path / "file").write_text("{}")
    assert main(["promote", str(tmp_path / "file"), *more, "--json"]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert f"{tmp_path}/file: is a file, not a directory; check the name" in error


def test_another_model_or_prompt_is_refused(tmp_path: Path) -> None:
    promotion, asked = make_promotion(tmp_path), PromptConfig(form="short")
    check_base(promotion, promotion.base, asked, STORAGE)
    check_base(promotion, str(make_model(tmp_path / "copy")), asked, STORAGE)  # the same files elsewhere
    other = make_model(tmp_path / "other", '{"layers": 2}')
    with pytest.raises(ConfigError, match=r"policy.weights: is .*other, and promotion 0, .* is of .*base"):
        check_base(promotion, str(other), asked, STORAGE)
    with pytest.raises(ConfigError, match=r'policy.prompt.form: is "full", .* was trained with "short"'):
        check_base(promotion, promotion.base, PromptConfig(), STORAGE)
    with pytest.raises(ConfigError, match=r"policy.prompt.history: is false"):
        check_base(promotion, promotion.base, PromptConfig(form="short", history=False), STORAGE)


def test_changed_files_of_an_adapter_are_refused(tmp_path: Path) -> None:
    promotion = make_promotion(tmp_path)
    check_adapter(promotion, STORAGE)
    (tmp_path / "a" / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not what was promoted"):
        check_adapter(promotion, STORAGE)
