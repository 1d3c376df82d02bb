"""artoolkit: more accurate segmentation networks at exactly the same cost, with the evidence.

Read first: `artoolkit.spec` (targets), `artoolkit.evidence.bundle` (what is handed to a device) and
`artoolkit.losses` (the affinity-regression loss).
"""

__version__ = "0.1.0"
