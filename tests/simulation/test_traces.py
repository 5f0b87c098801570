"""The recorded traces: the code does what they expect, and the files are equal to what is recorded now."""

import json
from typing import Any

import pytest

from telltale.core.connection import Connection
from telltale.core.policy import ConnectionPolicy, Grant
from tests.simulation import traces
from tests.simulation.view import View

NAMES = sorted(traces.SCENARIOS)


def load(name: str) -> dict[str, Any]:
    trace: dict[str, Any] = json.loads((traces.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return trace


@pytest.mark.parametrize("name", NAMES)
def test_a_view_shows_what_the_trace_expects(name: str) -> None:
    trace, view = load(name), View()
    ignored = [[list(thing) for thing in view.receive(frame)] for frame in trace["frames"]]
    assert view.to_json() == trace["expected"]
    assert ignored == trace["ignored"]


def test_the_files_are_equal_to_what_real_connections_send_now() -> None:
    current = {trace["name"]: traces.text_of(trace) for trace in traces.traces()}
    kept = {name: (traces.FOLDER / f"{name}.json").read_text(encoding="utf-8") for name in NAMES}
    assert kept == current, (
        "run `python -m tests.simulation --traces`, check the difference, and commit it if it is right"
    )


@pytest.mark.parametrize("name", [name for name in NAMES if "shuffled" not in name])
def test_receiving_every_message_twice_changes_only_events(name: str) -> None:
    trace, view = load(name), View()
    for frame in trace["frames"] * 2:
        view.receive(frame)
    expected = trace["expected"]
    assert {**view.to_json(), "events": []} == {**expected, "events": []}


def test_the_traces_have_tasks_and_notices_to_ignore() -> None:
    kinds = {kind for name in NAMES for ignored in load(name)["ignored"] for kind, _ in ignored}
    assert kinds == {"task", "notice"}


def test_a_view_that_names_its_snapshots_is_sent_none_of_them_again() -> None:
    for name in NAMES:
        view = View()
        for frame in load(name)["frames"]:
            view.receive(frame)
        grant = Grant(topics=frozenset({traces.ADA}), expires_at=traces.BEGIN + 9)
        connection = Connection(opened_at=traces.BEGIN, policy=ConnectionPolicy())
        connection.admit(grant, have=view.have, now=traces.BEGIN)
        connection.catch_up(traces.envelope_of(snapshot) for snapshot in view.tasks.values())
        connection.take(traces.BEGIN)
        assert connection.take(traces.BEGIN + 1) is None
