"""Where Huey's consumer looks for an app's tasks."""

from tests.app import huey_tasks

__all__ = ["huey_tasks"]
