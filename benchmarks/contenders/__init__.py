"""Every server under test is one small class here; what a peer's process runs is in `benchmarks/peers/`."""
