"""The verdict's checks: each measures a pair and judges the records.

Read `compare.py` first.
"""
