"""Where tiny models may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch.core.errors import ConfigError
from mira_batch.models.tiny.write import claim


def test_a_directory_that_can_not_be_made_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/tiny: can't be written \(Not a directory\); name another"):
        claim(tmp_path / "file" / "tiny")
    claim(tmp_path / "tiny")
    claim(tmp_path / "tiny")
