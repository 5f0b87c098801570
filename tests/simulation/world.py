"""The world: runs one history by its plan, ends all faults, and checks that all pages agree with the store.

Half the histories are rough: messages are lost, workers are killed between any two instructions, and the database
fails; there the re-reads must bring what the broker lost. The other half are smooth: messages are delayed, repeated and
reordered, and none is lost, and there are no re-reads; there "attach first, read second" alone must leave no gap.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter

from telltale.core.connection import Connection
from telltale.core.policy import ConnectionPolicy
from telltale.core.snapshot import Order
from telltale.core.states import State
from telltale.core.topics import task_topic
from telltale.core.wire import Envelope
from tests.simulation.agreement import check_agreement
from tests.simulation.browser import Page
from tests.simulation.ledger import LEASE_S, Ledger
from tests.simulation.rng import Plan, Rng
from tests.simulation.sabotage import NONE, Sabotages
from tests.simulation.store import BEAT_S, DatabaseDown, Store
from tests.simulation.web import LIMITS, RECHECK_S, Web
from tests.simulation.worker import Crashed, Run, Worker

ADA, GRACE = "user:1", "user:2"
BEGIN = 1_000.0

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
    "stranger_publishes": 1,
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
    """One history. Its actions are methods, with the names in `WEIGHTS`."""

    def __init__(self, rng: Rng, sabotage: Sabotages = NONE, log: Callable[[str], None] | None = None) -> None:
        self.now = BEGIN
        self.rough = rng.happens(0.5)
        self.log = log
        self.sabotage = sabotage
        self.ledger = Ledger()
        self.store = Store(self.ledger, sabotage)
        tight = self.rough and rng.happens(0.3)
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
        self.polled: list[tuple[float, Page, dict[str, Order], list[Envelope]]] = []

    # Actions -------------------------------------------------------------------------------------

    def enqueues(self, rng: Rng) -> None:
        task = next((task for task in TASKS if task not in self.store.rows), None)
        if task is not None:
            self.publish(self.store.queue(task, GRACE if task == "c" else ADA, self.now), rng)
            self.deliveries.append(task)

    def delivers(self, rng: Rng) -> None:
        worker = rng.pick([worker for worker in self.workers if worker.works])
        if worker is not None and self.deliveries:
            task = self.deliveries.pop(int(rng.draw() * len(self.deliveries)))
            # The runner acknowledges late: it keeps a delivery that the worker could not begin or crashed on.
            if not self._survives(worker, lambda: worker.take(task, self.store.owners[task], self.now, rng)):
                self.deliveries.append(task)

    def works(self, rng: Rng) -> None:
        self._with_a_run(rng, lambda worker, run: worker.advance(run, self.now, rng))

    def succeeds(self, rng: Rng) -> None:
        self._with_a_run(rng, lambda worker, run: self._ends(worker, run, State.SUCCEEDED, rng))

    def fails(self, rng: Rng) -> None:
        again = rng.happens(0.5)
        self._with_a_run(
            rng, lambda worker, run: self._ends(worker, run, State.RETRYING if again else State.FAILED, rng)
        )

    def cancels(self, rng: Rng) -> None:
        task = rng.pick(list(self.store.rows))
        if task is not None:
            envelopes = self.store.request_cancel(task, self.now)
            if not (self.rough and rng.happens(0.2)):  # Otherwise the process crashed after the commit.
                self.publish(envelopes, rng)

    def retries(self, rng: Rng) -> None:
        task = rng.pick([task for task, row in self.store.rows.items() if row.ended])
        if task is not None and (envelopes := self.store.requeue(task)):
            self.publish(envelopes, rng)
            self.deliveries.append(task)

    def redelivers(self, rng: Rng) -> None:
        if task := rng.pick(list(self.store.rows)):
            self.deliveries.append(task)

    def stranger_publishes(self, rng: Rng) -> None:
        """Another program on the broker's service forges an attempt, an end or progress that was never reported.

        From then on no page uses two transports at a time: what came late over the one that it gives up, the other
        could not take back.
        """
        task = rng.pick(list(self.store.rows))
        is_overlapping = bool(self.polled) or any(len(page.links) > 1 for page in self.pages)
        if task is None or not self.rough or is_overlapping:
            return
        row, has_ended = self.store.rows[task], rng.happens(0.5)
        forged = replace(
            row,
            attempt=row.attempt + (0 if rng.happens(0.5) else 90),
            seq=row.seq + 100_000,
            state=State.SUCCEEDED if has_ended else State.RUNNING,
            ended_at=self.now if has_ended else None,
        )
        self.ledger.forged.add((task, forged.order))
        self.publish([Envelope(topics=(task_topic(task), self.store.owners[task]), snapshot=forged)], rng)

    def worker_dies(self, rng: Rng) -> None:
        worker = rng.pick([worker for worker in self.workers if worker.up])
        if self.rough and worker is not None:
            self._kill(worker)
            if rng.happens(0.3):
                worker.runs.clear()

    def worker_stops(self, rng: Rng) -> None:
        worker = rng.pick([worker for worker in self.workers if worker.works])
        if self.rough and worker is not None:
            worker.stopped = True

    def worker_wakes(self, rng: Rng) -> None:
        if worker := rng.pick([worker for worker in self.workers if worker.stopped]):
            worker.stopped = False

    def worker_starts(self, rng: Rng) -> None:
        dead = [n for n, worker in enumerate(self.workers) if not worker.up]
        if (n := rng.pick(dead)) is not None:
            self.workers[n] = self._worker(n + 1)

    def connects(self, rng: Rng) -> None:
        self._connect(rng, overlap=False)

    def climbs(self, rng: Rng) -> None:
        self._connect(rng, overlap=not self.ledger.forged)

    def is_cut_off(self, rng: Rng) -> None:
        if page := rng.pick(self.pages):
            page.leave()

    def falls_asleep(self, rng: Rng) -> None:
        if page := rng.pick(self.pages):
            page.leave()
            page.awake = False

    def wakes_up(self, rng: Rng) -> None:
        if page := rng.pick(self.pages):
            page.awake = True

    def stops_reading(self, rng: Rng) -> None:
        if page := rng.pick(self.pages):
            page.reads = False

    def reads_again(self, rng: Rng) -> None:
        for page in self.pages:
            page.reads = True

    def polls(self, rng: Rng) -> None:
        page = rng.pick(self.pages)
        is_polling = self.ledger.forged and page is not None and (page.links or self.polled)
        if page is not None and page.awake and not is_polling:
            self.publish(self.store.expire(self.now), rng)
            found = self.store.read(page.topics)
            self.polled.append((self.now + rng.between(0, 3), page, page.view.have, found))

    def renews(self, rng: Rng) -> None:
        page = rng.pick([page for page in self.pages if page.connected])
        if page is not None:
            web, link = page.links[-1]
            if not link.is_cut:
                web.renew(link, page.grant(self.now), self.now)

    def web_dies(self, rng: Rng) -> None:
        if web := rng.pick([web for web in self.webs if web.up]):
            web.die()

    def web_starts(self, rng: Rng) -> None:
        for web in self.webs:
            if not web.up:
                web.start()

    def database_goes(self, rng: Rng) -> None:
        self.store.is_down = self.rough

    def database_returns(self, rng: Rng) -> None:
        self.store.is_down = False

    def waits(self, rng: Rng) -> None:
        self.pass_time(rng.between(5, 40) if rng.happens(0.7) else rng.between(90, 130), rng)

    def breathes(self, rng: Rng) -> None:
        self.pass_time(rng.between(0.1, 3), rng)

    # Time ----------------------------------------------------------------------------------------

    def pass_time(self, seconds: float, rng: Rng, slice_s: float = 5.0) -> None:
        """Let time pass, in slices, with everything that happens by time alone."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + slice_s)
            self._run_processes(rng)

    def _run_processes(self, rng: Rng) -> None:
        for worker in self.workers:
            if worker.runs and worker.up and not worker.stopped:
                self._survives(worker, lambda worker=worker: worker.tick(self.now, rng))  # type: ignore[misc]
        if self.inflight:
            self._deliver_messages()
        for web in self.webs:
            if web.up and (web.links or web.reads):
                web.run(self.now, rng, self.publish)
        for page in self.pages:
            page.handle_messages(self.now)
        if self.polled:
            self._answer_polls()

    def publish(self, envelopes: Iterable[Envelope], rng: Rng) -> None:
        """Send messages as a broker may: late, twice, out of order; in rough histories some not at all."""
        for envelope in envelopes:
            raw = envelope.to_bytes()
            for n in range(len(self.webs)):
                if self.rough and rng.happens(0.2):
                    continue
                delay = rng.between(0, 3) if rng.happens(0.1) else rng.between(0, 0.3)
                self.inflight.append((self.now + delay, n, raw))
                if rng.happens(0.1):
                    self.inflight.append((self.now + rng.between(0, 5), n, raw))

    def _deliver_messages(self) -> None:
        now = self.now
        due = [message for message in self.inflight if message[0] <= now]
        if due:
            self.inflight = [message for message in self.inflight if message[0] > now]
            due.sort(key=itemgetter(0))
            for _, n, raw in due:
                if self.webs[n].up:
                    self.webs[n].receive(raw, self.now)

    def _answer_polls(self) -> None:
        due = [poll for poll in self.polled if poll[0] <= self.now]
        self.polled = [poll for poll in self.polled if poll[0] > self.now]
        for _, page, have, found in due:
            if self.ledger.forged and page.links:
                continue
            connection = Connection(opened_at=self.now, policy=ConnectionPolicy(credit=None), limits=LIMITS)
            connection.admit(page.grant(self.now), have=have, seen=page.view.notices, now=self.now)
            connection.catch_up(found)
            while (frame := connection.take(self.now)) is not None:
                page.merge(json.loads(frame))

    # The end of a history ------------------------------------------------------------------------

    def heal(self, rng: Rng) -> None:
        """End all faults, reconnect all pages, and let all messages arrive."""
        rough, self.rough = self.rough, False
        self.store.is_down = False
        for worker in self.workers:
            worker.stopped, worker.crash_chance = False, 0.0
        for web in self.webs:
            if not web.up:
                web.start()
        for page in self.pages:
            page.awake = page.reads = True
        self.publish(self.store.expire(self.now), rng)  # In smooth histories there is no re-read that does it.
        self._reconnect(rng)
        orphaned = rough and any(lease is not None for lease in self.store.leases.values())
        for _ in range(3 if orphaned else 1):
            self.pass_time(LEASE_S / 2 if orphaned else BEAT_S + 1, rng)
            self._reconnect(rng)
        self.pass_time(6.0, rng, slice_s=0.5 if not rough else 1.5)
        if rough:
            # Workers save beats forever: let the last one be saved and re-read while nothing new happens.
            for worker in self.workers:
                for run in worker.runs:
                    run.saved_at = float("-inf")
            self.pass_time(0.4, rng, slice_s=0.2)
            for worker in self.workers:
                worker.stopped = True
            self.pass_time(RECHECK_S + 2, rng, slice_s=1.5)

    # Shared --------------------------------------------------------------------------------------

    def run(self, history: Plan) -> None:
        """Run all steps, heal the world, and check that all agree."""
        for step in history.steps:
            rng = Rng(step.seed)
            if self.log:
                self.log(f"{self.now:9.2f}  {step.action}")
            with suppress(DatabaseDown):  # The request failed, and nothing has changed.
                getattr(self, step.action)(rng)
            self.pass_time(rng.between(0.01, 0.3), rng)
        rng = Rng(history.healing_seed)
        self.heal(rng)
        check_agreement(self.store, self.ledger, self.workers, self.pages, now=self.now)

    def _worker(self, number: int) -> Worker:
        chance = 0.03 if self.rough else 0.0
        return Worker(f"worker {number}", self.store, self.ledger, self.publish, self.sabotage, chance)

    def _page(self, name: str, topics: Iterable[str]) -> Page:
        return Page(name, frozenset(topics), self.store, self.ledger, self.sabotage)

    def _with_a_run(self, rng: Rng, act: Callable[[Worker, Run], None]) -> None:
        running = [(worker, run) for worker in self.workers if worker.works for run in worker.runs if not run.ends]
        if chosen := rng.pick(running):
            self._survives(chosen[0], lambda: act(*chosen))

    def _ends(self, worker: Worker, run: Run, state: State, rng: Rng) -> None:
        worker.finish(run, state, self.now, rng)
        if state is State.RETRYING and rng.happens(0.8):
            self.deliveries.append(run.snapshot.id)

    def _survives(self, worker: Worker, act: Callable[[], bool | None]) -> bool:
        try:
            return act() is not False
        except Crashed:
            self._kill(worker)
            return False

    def _kill(self, worker: Worker) -> None:
        if self.log:
            self.log(f"{self.now:9.2f}    {worker.name} is killed")
        worker.up = worker.stopped = False
        # The runner acknowledges late, so it delivers half of what the worker ran again.
        self.deliveries += [run.snapshot.id for n, run in enumerate(worker.runs) if n % 2 == 0]

    def _connect(self, rng: Rng, *, overlap: bool) -> None:
        web, page = rng.pick([web for web in self.webs if web.up]), rng.pick(self.pages)
        if web is not None and page is not None and page.awake:
            page.connect(web, self.now, rng, overlap=overlap)

    def _reconnect(self, rng: Rng) -> None:
        for n, page in enumerate(self.pages):
            if not page.connected:
                page.connect(self.webs[n % len(self.webs)], self.now, rng)
