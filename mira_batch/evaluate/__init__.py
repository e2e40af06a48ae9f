"""Judges what edits are worth: the results of runs, of a catalogue, or of any editor.

Owns the evaluate job: which results are judged (`source.py`, `scan.py`) or compared (`against.py`), one
judging (`record.py`), what is asked beside them (`controls.py`); what its scores come to (`scores.py`,
`summary.py`), or its pairs (`preferences.py`), one evaluation against another (`compare.py`), a judge
against people (`calibrate.py`), and published benchmarks of both (`suites/`, over the arithmetic of
`benchmarks/`). Leaves the judges themselves to `models/`, and how records are run, resumed and committed to
`runtime/`.
"""
