"""A site of several processes in simulated time: a broker that loses, repeats and reorders messages; processes that are
killed, stopped, started and cut off. It knows the truth, and checks each process's stream of changes at every step."""

import heapq
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from telltale.pusher.server.membership.changes import (
    Change,
    ChannelOccupied,
    ChannelVacated,
    CountChanged,
    MemberAdded,
    MemberRemoved,
    UserOffline,
    UserOnline,
)
from telltale.pusher.server.membership.membership import Member, Membership

TURN_S = 0.05
QUIET_S = 40.0
"""Longer than any process needs to expire another one and to ask for all that it misses."""

APPS = ("1", "2")


@dataclass
class Followed:
    """The state that results from applying one process's changes, each of which must be a real one."""

    occupied: set[tuple[str, str]] = field(default_factory=set)
    members: set[tuple[str, str, str]] = field(default_factory=set)
    online: set[tuple[str, str]] = field(default_factory=set)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            match change:
                case ChannelOccupied(app_id=app, channel=channel):
                    add(self.occupied, (app, channel))
                case ChannelVacated(app_id=app, channel=channel):
                    assert not any(member[:2] == (app, channel) for member in self.members)
                    self.occupied.remove((app, channel))
                case MemberAdded(app_id=app, channel=channel, user_id=user):
                    assert (app, channel) in self.occupied
                    add(self.members, (app, channel, user))
                case MemberRemoved(app_id=app, channel=channel, user_id=user):
                    self.members.remove((app, channel, user))
                case UserOnline(app_id=app, user_id=user):
                    add(self.online, (app, user))
                case UserOffline(app_id=app, user_id=user):
                    self.online.remove((app, user))
                case CountChanged(app_id=app, channel=channel, subscription_count=count):
                    assert self.counts.pop((app, channel), 0) != count
                    if count:
                        self.counts[app, channel] = count

    def assert_equals(self, view: Membership) -> None:
        for app in APPS:
            channels = view.channels(app)
            assert sorted(channels) == sorted(name for at, name in self.occupied if at == app)
            assert {(app, c, user) for c in channels for user in view.members(app, c)} == {
                member for member in self.members if member[0] == app
            }
            assert {c: n for c in channels if (n := view.subscription_count(app, c))} == {
                name: count for (at, name), count in self.counts.items() if at == app
            }
        assert all(view.is_online(*user) for user in self.online)


def add(collection: set[Any], element: Any) -> None:
    assert element not in collection
    collection.add(element)


class SimulatedProcess:
    """A server process: its membership, its clients in truth, and the state that its changes add up to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.view = Membership(name)
        self.clients: Counter[tuple[str, str, str | None]] = Counter()
        self.users: Counter[tuple[str, str]] = Counter()
        self.followed = Followed()

    def apply(self, changes: list[Change]) -> None:
        self.followed.apply(changes)
        self.followed.assert_equals(self.view)

    def join(self, app: str, channel: str, user: str | None) -> None:
        self.clients[app, channel, user] += 1
        self.apply(self.view.join(app, channel, Member(user, {"name": user}) if user else None))

    def leave(self, index: int) -> None:
        if self.clients:
            client = sorted(self.clients, key=str)[index % len(self.clients)]
            self.clients -= Counter([client])
            self.apply(self.view.leave(*client))

    def sign_in(self, app: str, user: str) -> None:
        self.users[app, user] += 1
        self.apply(self.view.sign_in(app, user))

    def sign_out(self, index: int) -> None:
        if self.users:
            user = sorted(self.users)[index % len(self.users)]
            self.users -= Counter([user])
            self.apply(self.view.sign_out(*user))


class World:
    """The processes and the broker between them."""

    def __init__(self, seed: int, processes: int) -> None:
        self.now = 1_000.0
        self.random = random.Random(seed)
        self.processes: dict[str, SimulatedProcess] = {}
        self.loss = self.repeats = self.reordering = 0.0
        self.is_broker_down = False
        self.cut_off: set[str] = set()
        self.messages_sent: Counter[str] = Counter()
        self._in_flight: list[tuple[float, int, str, str]] = []
        self._number = 0
        for _ in range(processes):
            self.start()

    def start(self) -> SimulatedProcess:
        self._number += 1
        process = SimulatedProcess(f"process-{self._number}")
        self.processes[process.name] = process
        return process

    def nth(self, index: int) -> SimulatedProcess | None:
        names = sorted(self.processes)
        return self.processes[names[index % len(names)]] if names else None

    def kill(self, process: SimulatedProcess) -> None:
        del self.processes[process.name]

    def stop(self, process: SimulatedProcess) -> None:
        self._send(process.name, process.view.goodbye())
        self.kill(process)

    def passes(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.turn()

    def turn(self) -> None:
        self.now += TURN_S
        while self._in_flight and self._in_flight[0][0] <= self.now:
            _, _, receiver, message = heapq.heappop(self._in_flight)
            process = self.processes.get(receiver)
            if process is not None:
                process.apply(process.view.receive(message, self.now))
        for process in self.processes.values():
            process.apply(process.view.expire(self.now))
            for message in process.view.take_messages(self.now):
                self._send(process.name, message)

    def _send(self, sender: str, message: str) -> None:
        self.messages_sent[sender] += 1
        if self.is_broker_down or sender in self.cut_off:
            return
        for receiver in self.processes:
            if receiver in self.cut_off or self.random.random() < self.loss:
                continue
            for _ in range(1 + (self.random.random() < self.repeats)):
                delay_s = self.random.random() if self.random.random() < self.reordering else 0.01
                self._number += 1
                heapq.heappush(self._in_flight, (self.now + delay_s, self._number, receiver, message))

    def heal(self) -> None:
        self.loss = self.repeats = self.reordering = 0.0
        self.is_broker_down = False
        self.cut_off.clear()

    def assert_all_know_the_truth(self) -> None:
        members: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        counts: Counter[tuple[str, str]] = Counter()
        online = {user for process in self.processes.values() for user in process.users}
        for process in self.processes.values():
            for (app, channel, user), number in process.clients.items():
                if user is None:
                    counts[app, channel] += number
                else:
                    members[app, channel].add(user)
        for process in self.processes.values():
            assert process.followed.counts == dict(counts)
            assert process.followed.members == {(*c, user) for c, users in members.items() for user in users}
            assert process.followed.occupied == members.keys() | counts.keys()
            assert process.followed.online == online
        leaders = {process.view.leader for process in self.processes.values()}
        assert len(leaders) == 1 or not self.processes
        assert leaders <= self.processes.keys()
