"""Whatever the broker and the processes do: once they are quiet, all processes know the truth about the site."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from telltale.pusher.server.membership.membership import Membership
from telltale.pusher.server.membership.peers import Peers
from telltale.pusher.server.membership.replica import Replica
from tests.pusher.server.site_world import QUIET_S, World

PROCESS = st.integers(0, 4)
APP = st.sampled_from(["1", "2"])
USER = st.sampled_from(["ann", "bob", "eve"])
RATE = st.sampled_from([0.0, 0.1, 0.5])

STEPS = st.one_of(
    st.tuples(st.just("join"), PROCESS, APP, st.sampled_from(["news", "sport"])),
    st.tuples(st.just("enter"), PROCESS, APP, st.sampled_from(["presence-a", "presence-b"]), USER),
    st.tuples(st.just("leave"), PROCESS, st.integers(0, 9)),
    st.tuples(st.just("sign_in"), PROCESS, APP, USER),
    st.tuples(st.just("sign_out"), PROCESS, st.integers(0, 9)),
    st.tuples(st.just("wait"), st.sampled_from([0.05, 0.4, 4.0, 20.0])),
    st.tuples(st.just("disturb"), RATE, RATE, RATE),
    st.tuples(st.just("cut_off"), PROCESS),
    st.tuples(st.just("broker_down")),
    st.tuples(st.just("missed"), PROCESS),
    st.tuples(st.just("heal")),
    st.tuples(st.just("kill"), PROCESS),
    st.tuples(st.just("stop"), PROCESS),
    st.tuples(st.just("start")),
)

Script = list[tuple[Any, ...]]


def play(world: World, script: Script) -> None:
    for step in script:
        take(world, *step)
    world.heal()
    world.passes(QUIET_S)
    world.assert_all_know_the_truth()


def take(world: World, name: str, *arguments: Any) -> None:
    match name:
        case "wait":
            return world.passes(*arguments)
        case "disturb":
            world.loss, world.repeats, world.reordering = arguments
            return None
        case "broker_down":
            world.is_broker_down = True
            return None
        case "heal":
            return world.heal()
        case "start":
            if len(world.processes) < 5:
                world.start()
            return None
    process = world.nth(arguments[0])
    if process is None:
        return None
    match name:
        case "join":
            process.join(*arguments[1:], None)
        case "enter":
            process.join(*arguments[1:])
        case "leave":
            process.leave(arguments[1])
        case "sign_in":
            process.sign_in(*arguments[1:])
        case "sign_out":
            process.sign_out(arguments[1])
        case "cut_off":
            world.cut_off.add(process.name)
        case "missed":
            process.view.missed()
        case "kill":
            world.kill(process)
        case "stop":
            world.stop(process)
    return None


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few entries share buckets, fill pages and messages, and be dropped in several turns."""
    server = "telltale.pusher.server.membership"
    for module in ("entries", "own_part", "replica"):
        monkeypatch.setattr(f"{server}.{module}.BUCKETS", 3)
    for module in ("entries", "own_part"):
        monkeypatch.setattr(f"{server}.{module}.SOFT_BYTES", 70)
    monkeypatch.setattr(f"{server}.replica.DROPPED_AT_ONCE", 1)
    monkeypatch.setattr(f"{server}.membership.BYTES_PER_TURN", 100)


@pytest.mark.parametrize("is_small", [False, True], ids=["usual limits", "limits that a few clients reach"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), processes=st.integers(3, 5), script=st.lists(STEPS, max_size=40))
def test_once_quiet_all_processes_know_the_truth(is_small: bool, seed: int, processes: int, script: Script) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        if is_small:
            make_small(monkeypatch)
        play(World(seed, processes), script)


def ignore_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replica, "is_behind", property(lambda _: False))


def apply_changes_after_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Replica.apply_delta

    def apply_delta(self: Replica, number: int, deltas: Any) -> Any:
        return real(self, number, [delta._replace(previous=self._versions[delta.bucket]) for delta in deltas])

    monkeypatch.setattr(Replica, "apply_delta", apply_delta)


def never_drop_silent_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telltale.pusher.server.membership.peers.EXPIRY_S", float("inf"))


def bring_back_processes_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peers, "leave", lambda _self, _process: None)
    monkeypatch.setattr("telltale.pusher.server.membership.peers.EXPIRY_S", float("inf"))


def report_nothing_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telltale.pusher.server.membership.own_part.OwnPart.asked", lambda _self, _known: None)


def forget_the_others_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Membership, "_disconnect", lambda _self, _key: 0)


SABOTAGES = [
    ignore_gaps,
    apply_changes_after_a_gap,
    never_drop_silent_processes,
    bring_back_processes_that_left,
    report_nothing_when_asked,
    forget_the_others_connections,
]


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_the_simulation_notices_a_sabotage(
    monkeypatch: pytest.MonkeyPatch, sabotage: Callable[[pytest.MonkeyPatch], None]
) -> None:
    @settings(max_examples=300, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(seed=st.integers(0, 2**32), script=st.lists(STEPS, min_size=20, max_size=40))
    def simulate(seed: int, script: Script) -> None:
        play(World(seed, 3), script)

    make_small(monkeypatch)
    sabotage(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        simulate()
