"""Setting the environment that a store is opened in."""

from __future__ import annotations

from collections.abc import Callable

Environment = Callable[[dict[str, str]], None]
