"""pyarrow without pandas: left out until somebody imports it, and then no different."""

from __future__ import annotations

import subprocess
import sys

_ARRAYS = """
import sys, importlib.util
{before}
import pyarrow as pa
rows = pa.Table.from_pylist([{{"a": 1, "b": "x"}}])
print(*(["pandas"] if "pandas" in sys.modules else []), file=sys.stderr)
importlib.util.find_spec("pandas")  # many only look whether it is there
import pandas as pd
print(pa.array(pd.Series([1.0, None])), pa.array(pd.Categorical(["x", "y", "x"])))
print(pa.table({{"a": pd.Series(["x", None])}}), pa.Table.from_pandas(pd.DataFrame({{"a": [1, 2]}})))
print(rows.to_pandas(), pa.array(pd.Series([pd.Timestamp("2026-01-01"), pd.NaT])))
"""
_DEFER = "from mira_batch.storage.arrow import defer_pandas; defer_pandas(); defer_pandas()"
_TO_PANDAS = """
from mira_batch.storage.arrow import defer_pandas
defer_pandas()
import sys, pyarrow as pa
print(pa.table({"a": [1, 2]}).to_pandas()["a"].sum(), "pandas" in sys.modules)
assert not [finder for finder in sys.meta_path if type(finder).__module__ == "mira_batch.storage.arrow"]
"""


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_arrays_need_no_pandas_and_are_the_same_once_it_is_imported() -> None:
    """What a custom model makes of a Series must not depend on who started its process."""
    without, deferred = _run(_ARRAYS.format(before="")), _run(_ARRAYS.format(before=_DEFER))
    assert without.stderr.split() == ["pandas"]
    assert deferred.stderr.split() == []
    assert deferred.stdout == without.stdout


def test_to_pandas_imports_it() -> None:
    """As it does where nothing was deferred; and the import is then as any other."""
    assert _run(_TO_PANDAS).stdout.split() == ["3", "True"]


def test_a_command_does_not_import_pandas() -> None:
    """The import is a third of the time of a short command."""
    code = (
        "import sys\nfrom mira_batch.cli import main\n"
        "assert main(['plan', '--config', 'configs/quickstart.yaml', '--set', 'backend=inline']) == 0\n"
        "assert 'pandas' not in sys.modules"
    )
    _run(code)
