"""The made-up world: lives one history after a plan, heals it, and asks whether everybody agrees in the end.

Half the histories are rough: messages are lost, workers are killed between any two instructions, the database
goes away; there the re-check must repair what couriers lost. The other half are smooth: messages are delayed,
doubled and reordered, but none is lost, and nobody re-reads; there the handshake alone must leave no gap.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress

from telltale.core.connection import Connection
from telltale.core.policy import ConnectionPolicy
from telltale.core.states import State
from telltale.core.wire import Envelope
from tests.simulation.browser import Page
from tests.simulation.ledger import LEASE_S, Ledger, need
from tests.simulation.luck import Luck, Plan
from tests.simulation.sabotage import NONE, Sabotages
from tests.simulation.store import BEAT_S, Away, Store
from tests.simulation.web import LIMITS, RECHECK_S, Web
from tests.simulation.worker import Crashed, Run, Worker

ADA, GRACE = "user:1", "user:2"
BEGIN = 1_000.0
LAPSED_FOR_S = 20.0
"""How long after its lapse a lease may stand: somebody must look first, and a re-check does within this."""

TASKS = ("a", "b", "c")

WEIGHTS = {
    "enqueues": 4,
    "delivers": 8,
    "works": 16,
    "succeeds": 4,
    "fails": 3,
    "cancels": 3,
    "retries": 4,
    "redelivers": 2,
    "worker_dies": 2,
    "worker_stops": 3,
    "worker_wakes": 3,
    "worker_starts": 3,
    "connects": 5,
    "climbs": 3,
    "is_cut_off": 3,
    "falls_asleep": 1,
    "wakes_up": 1,
    "stops_reading": 1,
    "reads_again": 2,
    "polls": 2,
    "renews": 1,
    "web_dies": 1,
    "web_starts": 2,
    "database_goes": 1,
    "database_returns": 3,
    "waits": 2,
    "breathes": 8,
}


class World:
    """One history. Its actions are methods, each named as in `WEIGHTS`."""

    def __init__(self, luck: Luck, sabotage: Sabotages = NONE, log: Callable[[str], None] | None = None) -> None:
        self.now = BEGIN
        self.rough = luck.happens(0.5)
        self.log = log
        self.sabotage = sabotage
        self.ledger = Ledger()
        self.store = Store(self.ledger, sabotage)
        tight = self.rough and luck.happens(0.3)
        policy = (
            ConnectionPolicy(credit=900, max_frame=300, max_queue=3, max_remembered=4) if tight else ConnectionPolicy()
        )
        self.webs = [Web(self.store, self.ledger, policy, sabotage, recheck=self.rough) for _ in range(2)]
        self.workers = [self._worker(n) for n in (1, 2)]
        self.pages = [
            self._page("Ada's page", {ADA}),
            self._page("Ada's second page", {ADA}),
            self._page("Grace's page", {GRACE, "task:a"}),
        ]
        self.deliveries: list[str] = []
        self.inflight: list[tuple[float, int, bytes]] = []
        self.polled: list[tuple[float, Page, list[Envelope]]] = []

    # What happens --------------------------------------------------------------------------------

    def enqueues(self, luck: Luck) -> None:
        task = next((task for task in TASKS if task not in self.store.rows), None)
        if task is not None:
            self.publish(self.store.queue(task, GRACE if task == "c" else ADA, self.now), luck)
            self.deliveries.append(task)

    def delivers(self, luck: Luck) -> None:
        worker = luck.pick([worker for worker in self.workers if worker.works])
        if worker is not None and self.deliveries:
            task = self.deliveries.pop(int(luck.draw() * len(self.deliveries)))
            # The runner keeps what the worker could not begin, or crashed on: late acknowledgement.
            if not self._guarded(worker, lambda: worker.takes(task, self.store.owners[task], self.now, luck)):
                self.deliveries.append(task)

    def works(self, luck: Luck) -> None:
        self._run(luck, lambda worker, run: worker.moves(run, self.now, luck))

    def succeeds(self, luck: Luck) -> None:
        self._run(luck, lambda worker, run: self._ends(worker, run, State.SUCCEEDED, luck))

    def fails(self, luck: Luck) -> None:
        again = luck.happens(0.5)
        self._run(luck, lambda worker, run: self._ends(worker, run, State.RETRYING if again else State.FAILED, luck))

    def cancels(self, luck: Luck) -> None:
        task = luck.pick(list(self.store.rows))
        if task is not None:
            news = self.store.request_cancel(task, self.now)
            if not (self.rough and luck.happens(0.2)):  # else: crashed after the commit
                self.publish(news, luck)

    def retries(self, luck: Luck) -> None:
        task = luck.pick([task for task, row in self.store.rows.items() if row.ended])
        if task is not None and (news := self.store.requeue(task)):
            self.publish(news, luck)
            self.deliveries.append(task)

    def redelivers(self, luck: Luck) -> None:
        if task := luck.pick(list(self.store.rows)):
            self.deliveries.append(task)

    def worker_dies(self, luck: Luck) -> None:
        worker = luck.pick([worker for worker in self.workers if worker.up])
        if self.rough and worker is not None:
            self._kill(worker)
            if luck.happens(0.3):
                worker.runs.clear()

    def worker_stops(self, luck: Luck) -> None:
        worker = luck.pick([worker for worker in self.workers if worker.works])
        if self.rough and worker is not None:
            worker.stopped = True

    def worker_wakes(self, luck: Luck) -> None:
        if worker := luck.pick([worker for worker in self.workers if worker.stopped]):
            worker.stopped = False

    def worker_starts(self, luck: Luck) -> None:
        dead = [n for n, worker in enumerate(self.workers) if not worker.up]
        if (n := luck.pick(dead)) is not None:
            self.workers[n] = self._worker(n + 1)

    def connects(self, luck: Luck) -> None:
        self._connect(luck, overlap=False)

    def climbs(self, luck: Luck) -> None:
        self._connect(luck, overlap=True)

    def is_cut_off(self, luck: Luck) -> None:
        if page := luck.pick(self.pages):
            page.leaves()

    def falls_asleep(self, luck: Luck) -> None:
        if page := luck.pick(self.pages):
            page.leaves()
            page.awake = False

    def wakes_up(self, luck: Luck) -> None:
        if page := luck.pick(self.pages):
            page.awake = True

    def stops_reading(self, luck: Luck) -> None:
        if page := luck.pick(self.pages):
            page.reads = False

    def reads_again(self, luck: Luck) -> None:
        for page in self.pages:
            page.reads = True

    def polls(self, luck: Luck) -> None:
        page = luck.pick(self.pages)
        if page is not None and page.awake:
            self.publish(self.store.expire(self.now), luck)
            found = self.store.read(page.topics)
            self.polled.append((self.now + luck.between(0, 3), page, found))

    def renews(self, luck: Luck) -> None:
        page = luck.pick([page for page in self.pages if page.connected])
        if page is not None:
            web, link = page.links[-1]
            if not link.is_cut:
                web.renews(link, page.grant(self.now), self.now)

    def web_dies(self, luck: Luck) -> None:
        if web := luck.pick([web for web in self.webs if web.up]):
            web.dies()

    def web_starts(self, luck: Luck) -> None:
        for web in self.webs:
            if not web.up:
                web.start()

    def database_goes(self, luck: Luck) -> None:
        self.store.away = self.rough

    def database_returns(self, luck: Luck) -> None:
        self.store.away = False

    def waits(self, luck: Luck) -> None:
        self.passes(luck.between(5, 40) if luck.happens(0.7) else luck.between(90, 130), luck)

    def breathes(self, luck: Luck) -> None:
        self.passes(luck.between(0.1, 3), luck)

    # Time ----------------------------------------------------------------------------------------

    def passes(self, seconds: float, luck: Luck, slice_s: float = 5.0) -> None:
        """Time goes on, and with it everything that happens by itself."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + slice_s)
            self._by_itself(luck)

    def _by_itself(self, luck: Luck) -> None:
        for worker in self.workers:
            if worker.runs and worker.works:
                self._guarded(worker, lambda worker=worker: worker.tick(self.now, luck))  # type: ignore[misc]
        self._deliver_messages()
        for web in self.webs:
            if web.up and (web.busy):
                web.works(self.now, luck, self.publish)
        for page in self.pages:
            page.works(self.now)
        if self.polled:
            self._answer_polls()

    def publish(self, envelopes: Iterable[Envelope], luck: Luck) -> None:
        """The broker's work: late, twice, out of order; in rough histories also not at all."""
        for envelope in envelopes:
            raw = envelope.to_bytes()
            for n in range(len(self.webs)):
                if self.rough and luck.happens(0.2):
                    continue
                delay = luck.between(0, 3) if luck.happens(0.1) else luck.between(0, 0.3)
                self.inflight.append((self.now + delay, n, raw))
                if luck.happens(0.1):
                    self.inflight.append((self.now + luck.between(0, 5), n, raw))

    def _deliver_messages(self) -> None:
        due = [message for message in self.inflight if message[0] <= self.now]
        if due:
            self.inflight = [message for message in self.inflight if message[0] > self.now]
            due.sort(key=lambda message: message[0])
            for _, n, raw in due:
                if self.webs[n].up:
                    self.webs[n].hears(raw, self.now)

    def _answer_polls(self) -> None:
        due = [poll for poll in self.polled if poll[0] <= self.now]
        self.polled = [poll for poll in self.polled if poll[0] > self.now]
        for _, page, found in due:
            connection = Connection(opened_at=self.now, policy=ConnectionPolicy(credit=None), limits=LIMITS)
            connection.admit(page.grant(self.now), have=page.view.have, seen=page.view.notices, now=self.now)
            connection.catch_up(found)
            while (frame := connection.take(self.now)) is not None:
                page.folds(json.loads(frame))

    # The end of a history ------------------------------------------------------------------------

    def heals(self, luck: Luck) -> None:
        """All faults end; whoever is cut off comes back; then all that is under way arrives."""
        rough, self.rough = self.rough, False
        self.store.away = False
        for worker in self.workers:
            worker.stopped, worker.crash_chance = False, 0.0
        for web in self.webs:
            if not web.up:
                web.start()
        for page in self.pages:
            page.awake = page.reads = True
        self.publish(self.store.expire(self.now), luck)  # somebody looks, in smooth histories too
        self._reconnect(luck)
        orphaned = rough and any(lease is not None for lease in self.store.leases.values())
        for _ in range(3 if orphaned else 1):
            self.passes(LEASE_S / 2 if orphaned else BEAT_S + 1, luck)
            self._reconnect(luck)
        self.passes(6.0, luck, slice_s=0.5 if not rough else 1.5)
        if rough:
            # Beats go on for ever: let the last of them be saved and re-read while nothing new happens.
            for worker in self.workers:
                for run in worker.runs:
                    run.saved_at = float("-inf")
            self.passes(0.4, luck, slice_s=0.2)
            for worker in self.workers:
                worker.stopped = True
            self.passes(RECHECK_S + 2, luck, slice_s=1.5)

    def converged(self) -> None:
        """Everybody agrees: pages with the store, the store with the workers."""
        runs = [run for worker in self.workers if worker.up for run in worker.runs]
        for run in runs:
            row = self.store.rows[run.snapshot.id]
            if row.attempt == run.snapshot.attempt and not row.ended:
                need(row.cancel_requested <= run.snapshot.cancel_requested, "I9: a cancellation was never heard")
        for task, row in self.store.rows.items():
            owns = [run for run in runs if run.snapshot.id == task and run.snapshot.attempt == row.attempt]
            lease = self.store.leases[task]
            if row.state in (State.RUNNING, State.RETRYING):
                need(lease is not None and lease > self.now - LAPSED_FOR_S, f"I8: {row.state} for ever")
                need(bool(owns) or row.state is State.RETRYING or not self._old(task), "I8: running without a worker")
            for page in self.pages:
                if page.may_see(task):
                    self._agrees(page, task, owns)
        for (task, attempt), end in self.ledger.ends.items():
            told = [n for n in self.store.notices.values() if n.task == task and n.text == end.state]
            need(bool(told), f"N: the end of attempt {attempt} has no notice")
        for notice in self.store.notices.values():
            need(notice.id in self.ledger.shown_notices, "N: a notice was never shown")

    def _old(self, task: str) -> bool:
        return self.now > (self.store.rows[task].beat_at or 0.0) + LEASE_S

    def _agrees(self, page: Page, task: str, owns: list[Run]) -> None:
        row, shown = self.store.rows[task], page.view.tasks.get(task)
        need(shown is not None, f"I7: {page.name} never heard of {task}")
        assert shown is not None
        same = (shown.attempt, shown.state) == (row.attempt, row.state)
        need(same, f"I7: {page.name} shows {shown.state} {shown.order}, true is {row.state} {row.order}")
        if row.ended:
            need(shown == row, f"I7: {page.name} shows another end than is true")
        for run in owns if row.state is State.RUNNING else ():
            fraction = shown.progress.fraction
            need(fraction == run.fraction, f"I6: {page.name} shows {fraction}, the task had {run.fraction}")
            need(shown.cancel_requested == row.cancel_requested, f"I7: {page.name} shows another wish to cancel")

    # Small things --------------------------------------------------------------------------------

    def lives(self, history: Plan) -> None:
        """All steps, the healing and the verdict."""
        for step in history.steps:
            luck = Luck(step.luck)
            if self.log:
                self.log(f"{self.now:9.2f}  {step.action}")
            with suppress(Away):  # whoever asked is told so, and nothing has changed
                getattr(self, step.action)(luck)
            self.passes(luck.between(0.01, 0.3), luck)
        luck = Luck(history.luck)
        self.heals(luck)
        self.converged()

    def _worker(self, number: int) -> Worker:
        chance = 0.03 if self.rough else 0.0
        return Worker(f"worker {number}", self.store, self.ledger, self.publish, self.sabotage, chance)

    def _page(self, name: str, topics: Iterable[str]) -> Page:
        return Page(name, frozenset(topics), self.store, self.ledger, self.sabotage)

    def _run(self, luck: Luck, act: Callable[[Worker, Run], None]) -> None:
        running = [(worker, run) for worker in self.workers if worker.works for run in worker.runs if not run.ends]
        if chosen := luck.pick(running):
            self._guarded(chosen[0], lambda: act(*chosen))

    def _ends(self, worker: Worker, run: Run, state: State, luck: Luck) -> None:
        worker.finishes(run, state, self.now, luck)
        if state is State.RETRYING and luck.happens(0.8):
            self.deliveries.append(run.snapshot.id)

    def _guarded(self, worker: Worker, act: Callable[[], bool | None]) -> bool:
        try:
            return act() is not False
        except Crashed:
            self._kill(worker)
            return False

    def _kill(self, worker: Worker) -> None:
        if self.log:
            self.log(f"{self.now:9.2f}    {worker.name} is dead")
        worker.up = worker.stopped = False
        # Late acknowledgement: half of what it ran comes back.
        self.deliveries += [run.snapshot.id for n, run in enumerate(worker.runs) if n % 2 == 0]

    def _connect(self, luck: Luck, *, overlap: bool) -> None:
        web, page = luck.pick([web for web in self.webs if web.up]), luck.pick(self.pages)
        if web is not None and page is not None and page.awake:
            page.connects(web, self.now, luck, overlap=overlap)

    def _reconnect(self, luck: Luck) -> None:
        for n, page in enumerate(self.pages):
            if not page.connected:
                page.connects(self.webs[n % len(self.webs)], self.now, luck)
