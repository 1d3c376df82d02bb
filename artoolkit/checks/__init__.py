"""The verdict's checks: one file each, with one object that measures a pair and judges the records.

Read `kind.py` first (what a check is), then `registry.py` (the list), `compare.py` and `verify.py`.
"""
