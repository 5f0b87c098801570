"""Telltale in a project with Django Channels: its consumers, groups, layer and workers.

    from telltale.channels import FollowMixin, TaskConsumer, group_of, relay

The names are imported on first use: `group_of` must work before Django is set up, and where only the layer is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telltale.channels.follow.mixin import FollowMixin as FollowMixin
    from telltale.channels.follow.mixin import FollowRefused as FollowRefused
    from telltale.channels.groups import group_of as group_of
    from telltale.channels.groups import topic_of as topic_of
    from telltale.channels.mounting import live_application as live_application
    from telltale.channels.relaying import relay as relay
    from telltale.channels.runner.consumers import TaskConsumer as TaskConsumer
    from telltale.channels.runner.sending import send as send

_HOMES = {
    "FollowMixin": "telltale.channels.follow.mixin",
    "FollowRefused": "telltale.channels.follow.mixin",
    "TaskConsumer": "telltale.channels.runner.consumers",
    "group_of": "telltale.channels.groups",
    "live_application": "telltale.channels.mounting",
    "relay": "telltale.channels.relaying",
    "send": "telltale.channels.runner.sending",
    "topic_of": "telltale.channels.groups",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'telltale.channels' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    return getattr(import_module(_HOMES[name]), name)
