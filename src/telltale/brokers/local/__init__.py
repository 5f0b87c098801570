"""Datagrams between the processes of one machine: `broker.py` is the door; and who listens where."""
