"""What several models of a process have in common."""

from __future__ import annotations

from collections import Counter

from mira_batch.models.sharing import Copies, Loaded


def test_a_key_is_loaded_once_for_all_models_and_once_for_each_copy_of_one() -> None:
    made = Counter[str]()

    def take(copies: Copies, key: str) -> str:
        def load() -> str:
            made[key] += 1
            return f"{key}{made[key]}"

        return copies.take(key, load)

    loaded = Loaded()
    policy, judge = loaded.for_model(), loaded.for_model()
    assert [take(policy, "w") for _ in range(2)] == ["w1", "w2"], "replicas work at the same time"
    assert [take(judge, "w") for _ in range(3)] == ["w1", "w2", "w3"]
    assert take(judge, "v") == "v1" and made == {"w": 3, "v": 1}
    assert take(Copies(), "w") == "w4", "another process, so to speak"


def test_what_fails_to_load_is_not_there() -> None:
    copies = Copies()

    def fail() -> str:
        raise ValueError

    for _ in range(2):
        try:
            copies.take("w", fail)
        except ValueError:
            continue
        raise AssertionError
    assert copies.take("w", lambda: "w1") == "w1"
