"""The Redis broker, by publish and subscribe. See `broker.py`; `publisher.py` sends, `listener.py` receives."""
