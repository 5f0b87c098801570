"""Whole histories of Telltale in a made-up world: seeded, with a virtual clock, store and wire, and the real core.

What is virtual here does with a dict what `store/`, the brokers and the transports do with a database and
sockets; what decides (states, the order of snapshots, hub, connection, envelopes, health) is the real code.
"""
