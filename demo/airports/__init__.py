"""The demo's app: tasks that import airports and compute distances."""
