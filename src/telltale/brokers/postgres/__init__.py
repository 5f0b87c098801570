"""The PostgreSQL broker, by LISTEN and NOTIFY; one thread in each process sends and receives. See `broker.py`."""
