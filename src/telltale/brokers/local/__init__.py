"""The local broker: Unix datagrams between the processes of one machine. Start reading at `broker.py`."""
