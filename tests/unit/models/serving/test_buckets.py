"""Buckets that a model makes of its requests, and that can't be compared."""

from __future__ import annotations

import asyncio

from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.microbatch import MicroBatcher
from tests.support.models.roles import EDITOR


class Incomparable:
    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise ValueError("no")


def test_a_bucket_whose_comparison_raises_fails_its_record_and_ends_no_thread() -> None:
    async def main() -> list[int | BaseException]:
        batcher: MicroBatcher[int, int] = MicroBatcher(
            EDITOR, [lambda requests: [10 * r for r in requests]], lambda r: r if r > 2 else Incomparable(), 4
        )
        found = await asyncio.wait_for(
            asyncio.gather(*(batcher.submit(i) for i in range(5)), return_exceptions=True), 20
        )
        await batcher.close()
        return [one if isinstance(one, BaseException) else one.value for one in found]

    *bad, third, fourth = asyncio.run(main())
    assert (third, fourth) == (30, 40)
    for error in bad:
        assert isinstance(error, RecordError)
        assert (error.kind, str(error)) == (ErrorKind.editor_failed, "ValueError: no")
