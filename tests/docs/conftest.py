"""What tests of documents share."""

from __future__ import annotations

import pytest

from tests.docs.guides import Terminal


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Terminal:
    """Where the commands of a document are typed in."""
    return Terminal(capfd)
