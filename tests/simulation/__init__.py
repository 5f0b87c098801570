"""Random histories of Telltale, each from a seed, with a virtual clock, store and network, and the real core.

The virtual parts do with a dict what `store/`, the brokers and the transports do with a database and sockets. All
that decides (states, the order of snapshots, hub, connection, envelopes) is the real code.
"""
