"""Errors that travel to the driver as data."""

from __future__ import annotations

import json

import pytest

from mira_batch.core import errors
from mira_batch.runtime.backends.errors import pack_error, unpack_error

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.UserError | errors.JobError)
]


class OfACustomModel(errors.ConfigError):
    """A kind that the driver's process needn't know."""


def test_each_kind_that_a_user_can_do_something_about_arrives_as_one() -> None:
    assert errors.ConfigError in KINDS and errors.JobError in KINDS
    for kind in KINDS:
        error = kind.__new__(kind)
        error.args = ("policy.weights: no such directory",)
        found = unpack_error(json.loads(json.dumps(pack_error(error))))
        assert isinstance(error, type(found))
        assert str(found) == "policy.weights: no such directory"
        assert isinstance(found, errors.UserError) == isinstance(error, errors.UserError)


@pytest.mark.parametrize("kind", [errors.ConfigError, errors.StoreError, errors.RunConflict])
def test_it_is_of_the_same_kind(kind: type[errors.UserError]) -> None:
    assert type(unpack_error(pack_error(kind("x")))) is kind


def test_one_of_a_kind_of_its_own_is_what_it_derives_from() -> None:
    assert type(unpack_error(pack_error(OfACustomModel("x")))) is errors.ConfigError
