"""Quality of a network's labels: mIoU per image, borders, intervals.

Read `quality.py` first.
"""
