"""Huey's consumer looks for an app's tasks in this module."""

from tests.app import huey_tasks

__all__ = ["huey_tasks"]
