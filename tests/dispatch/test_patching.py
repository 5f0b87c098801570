"""Functions of a library can be patched, once."""

from types import SimpleNamespace
from typing import Any

from telltale.dispatch.patching import patch


def test_a_patched_method_calls_the_wrapper_with_the_original() -> None:
    class Queue:
        def put(self, item: str, *, times: int) -> str:
            """Put it."""
            return item * times

    def put(original: Any, self: Queue, item: str, **kwargs: Any) -> str:
        return f"<{original(self, item, **kwargs)}>"

    patch(Queue, "put", put)
    patch(Queue, "put", put)
    assert Queue().put("a", times=2) == "<aa>"
    assert Queue.put.__doc__ == "Put it."


def test_a_function_of_an_instance_can_be_patched() -> None:
    broker = SimpleNamespace(send=lambda item: item)
    patch(broker, "send", lambda original, item: [original(item)])
    patch(broker, "send", lambda original, item: [original(item)])
    assert broker.send("a") == ["a"]
