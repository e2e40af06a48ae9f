"""Versions of many objects by LIST, which tells a thousand in the time that HEAD takes for a few."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import obstore
from obstore import exceptions as oe
from obstore.store import ObjectStore

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.clients import open_client
from mira_batch.storage.stores.credentials import IDENTITY
from mira_batch.storage.stores.faults import Patience

_LEAST = 20
"""Objects of one folder that are worth a LIST."""
_PAGE = 1000
"""Entries of an answer: as many as S3 gives."""
_WORTH = 10
"""How many of the objects asked for a LIST must find on average."""


def list_versions(uris: Sequence[str], config: StorageConfig) -> dict[str, str]:
    """The ETags of those of these objects that lie close together on S3; of the others nobody is asked here.

    Args:
        uris: of any scheme.
        config: how the store is reached.

    Returns:
        ETag by URI, as HEAD gives it. Where listing is not allowed or fails, it is empty.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    for uri in uris:
        if uri.startswith("s3://"):
            folders[uri.rpartition("/")[0]].append(uri)
    found: dict[str, str] = {}
    for folder, members in folders.items():
        if len(members) >= _LEAST and folder.count("/") > 2:
            found |= _list_folder(folder, sorted(members), config)
    return found


def _list_folder(folder: str, uris: Sequence[str], config: StorageConfig) -> dict[str, str]:
    bucket, _, prefix = folder.removeprefix("s3://").partition("/")
    wanted = {uri.removeprefix(f"s3://{bucket}/") for uri in uris}
    ordered = sorted(wanted, key=str.encode)  # as S3 orders keys
    found: dict[str, str] = {}
    lists, place = 0, 0
    try:
        store = open_client(f"s3://{bucket}", config)
        while place < len(ordered):
            pages = _list_from(store, prefix, ordered[place], config)
            for page in pages:
                lists += 1
                found |= {key: tag for key, tag in page if tag and key in wanted}
                last = page[-1][0].encode()
                begin = place
                while place < len(ordered) and ordered[place].encode() <= last:
                    place += 1
                if place == len(ordered) or begin == place:
                    break  # the next one may be far away: go on from there
            else:
                place = len(ordered)
            if lists * _WORTH > len(found) + 2 * _WORTH:
                break
    except (StoreError, oe.BaseError, ValueError):
        pass  # each is asked for by itself then, and says what is wrong
    return {f"s3://{bucket}/{key}": tag for key, tag in found.items()}


def _list_from(
    store: ObjectStore, prefix: str, key: str, config: StorageConfig
) -> Iterator[list[tuple[str, str]]]:
    """Pages of (key, ETag) of a folder, from this key on."""
    before = f"{key[:-1]}{chr(ord(key[-1]) - 1)}" if ord(key[-1]) not in (0, 0xE000) else key[:-1]
    stream = obstore.list(store, prefix, offset=before, chunk_size=_PAGE)
    patience = Patience(config.retry_seconds, identity=IDENTITY)
    while (page := patience.call(lambda: next(stream, None))) is not None:
        yield [(meta["path"], (meta["e_tag"] or "").strip('"')) for meta in page]
