"""How good a network's labels are: mIoU per image, borders, intervals.

Read `quality.py` first.
"""
