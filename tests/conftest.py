"""Every test runs torch on one thread: the machine is shared, and sums keep their order."""

from __future__ import annotations

from artoolkit.optional import is_installed

if is_installed("torch"):
    import torch

    torch.set_num_threads(1)
