"""Networks: `build` makes one by name; `Network` is what the rest of artoolkit knows of it."""

from artoolkit.networks.builder import NETWORKS, build
from artoolkit.networks.network import Network

__all__ = ["NETWORKS", "Network", "build"]
