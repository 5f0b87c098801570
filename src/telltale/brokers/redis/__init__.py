"""Redis' publish and subscribe: `broker.py` is the door; a publisher, a subscription, and who drives it."""
