"""Hands results over: image files, tars, Parquet that `datasets` opens, CSV, tables.

    choose.py    which rows, and why not the others
    names.py     what their files are called
    ledger.py    what a destination has and is still to get: plans, numbered and create-only
    plan.py      the part that is new, compared and checked before anything is written
    rows.py      rows read back from result files
    writers.py   a part of a plan as files; on any worker
    tables.py    the whole state as an Iceberg or Delta table, in one commit
    run.py       all of it, in order

docs/adr/0020 says why it is built so.
"""
