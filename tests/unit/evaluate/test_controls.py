"""Of which records more is asked."""

from __future__ import annotations

from mira_batch.config.evaluate import ControlsConfig
from mira_batch.evaluate.controls import CANARIES, REPEAT, draw, name_judging

CONTROLS = ControlsConfig(repeats=2, canaries=2)


def names_of(records: dict[str, bool]) -> list[str]:
    asked = draw(records, None, CONTROLS)
    return [name_judging(record, kind) for record in records for kind in asked.kinds(record)]


def test_no_control_has_the_name_of_a_record() -> None:
    """One of two rows of a name would be left out as there twice: a real one, perhaps."""
    for kind in (REPEAT, *CANARIES):
        records = dict.fromkeys(["p0", f"p0#{kind}", f"p0#{kind}#{kind}", "p1"], True)
        names = names_of(records)
        assert len(names) == len({*names}) and {*records} <= {*names}
        assert len(names) == len(records) + 2 * (1 + len(CANARIES)), "others are asked in their place"


def test_the_same_records_are_asked_more_as_ever_where_no_name_is_taken() -> None:
    records = dict.fromkeys((f"p{number}" for number in range(50)), True)
    more = draw(records, None, CONTROLS).repeats
    assert draw(records | {"p0#edited": True, "q#repeat": True}, None, CONTROLS).repeats == more
