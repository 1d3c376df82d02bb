"""What a network costs on this machine: latency, memory, and the state of the machine."""
