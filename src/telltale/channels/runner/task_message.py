"""A task as a message of the channel layer: the type that names its handler, its arguments, and Telltale's header.

    {"type": "import_contacts", "args": [7], "kwargs": {}, "telltale": {"task": …, "owner": …, "id": …}}

A message without the header was sent without Telltale. Knows no layer and no consumer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from telltale.dispatch.task_header import HEADER, TaskHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMessage:
    """One task, from its sender to its consumer."""

    handler: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    header: TaskHeader
    runner_id: str
    """The runner's id of the attempt; another attempt is another message with another id."""

    def to_dict(self) -> dict[str, Any]:
        """The message as the layer carries it."""
        # Through JSON, as the row keeps them: so a task gets the same arguments at first and when it is run again, and
        # no serializer meets a tuple or a key that is not text.
        args, kwargs = json.loads(json.dumps([list(self.args), dict(self.kwargs)]))
        header = {**self.header.to_json(), "id": self.runner_id}
        return {"type": self.handler, "args": args, "kwargs": kwargs, HEADER: header}

    @classmethod
    def from_dict(cls, message: Mapping[str, Any]) -> Self | None:
        """The reverse of `to_dict`; None for any other message, such as one that was sent without Telltale."""
        data = message.get(HEADER)
        try:
            header = TaskHeader.from_json(data)
        except (ValueError, TypeError):
            return None
        if header is None or not isinstance(data, Mapping):
            return None
        return cls(
            handler=str(message.get("type")),
            args=message.get("args") or (),
            kwargs=message.get("kwargs") or {},
            header=header,
            runner_id=str(data.get("id", "")),
        )
