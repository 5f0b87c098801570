"""PostgreSQL's LISTEN and NOTIFY: `broker.py` is the door; one courier a process sends and hears."""
