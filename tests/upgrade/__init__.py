"""Rolling upgrades: what an earlier version wrote and sent is recorded, and this version must understand it."""
