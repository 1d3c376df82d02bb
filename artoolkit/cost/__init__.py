"""Cost of a network on this machine: latency, memory, and the state of the machine."""
