"""One attempt's arithmetic: what is to be told and saved, at given moments."""

from uuid import uuid4

import pytest

from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.store import Claim, Report, Saved
from telltale.worker.attempts import Attempt
from telltale.worker.tracker import Tracker

ID = uuid4()
BEAT_S = 10.0
SAVE_S = 2.0


def begun(*, seq: int = 1, cancel_requested: bool = False) -> Attempt:
    snapshot = Snapshot(id=str(ID), attempt=1, seq=seq, state=State.RUNNING, label="Work", started_at=100, beat_at=100)
    attempt = Attempt(lambda: None)
    claim = Claim(
        id=ID, attempt=1, seq=seq, topics=(f"task:{ID}",), snapshot=snapshot, cancel_requested=cancel_requested
    )
    attempt.begin(claim, save_every_s=SAVE_S)
    return attempt


def look(attempt: Attempt, now: float) -> Snapshot | None:
    return attempt.look(now=now, beat_s=BEAT_S)


def report(attempt: Attempt, now: float) -> Report | None:
    return attempt.report() if attempt.is_due(now=now, save_every_s=SAVE_S) else None


def save(attempt: Attempt, now: float, **verdict: object) -> None:
    """As the store would."""
    due = report(attempt, now)
    assert due is not None
    attempt.saved(due, Saved(**({"id": ID, "attempt": 1, "fenced": False, "seq": due.seq} | verdict)), now=now)


def test_what_was_claimed_is_told_first() -> None:
    attempt = begun()
    assert look(attempt, 100.1) == attempt.claim.snapshot
    assert look(attempt, 100.2) is None


def test_each_change_counts_on_and_tells_when_the_work_moved() -> None:
    attempt = begun()
    look(attempt, 100.1)
    attempt.tracker.current, attempt.tracker.total = 1, 4
    told = look(attempt, 100.5)
    assert (told.seq, told.progress.fraction, told.moved_at, told.beat_at) == (2, 0.25, 100.5, 100.5)


def test_a_sign_of_life_is_no_movement() -> None:
    attempt = begun()
    look(attempt, 100.1)
    assert look(attempt, 109.9) is None
    told = look(attempt, 110.1)
    assert (told.seq, told.moved_at, told.beat_at) == (2, None, 110.1)


def test_a_sign_of_life_is_saved_as_one_unless_something_else_was_told_with_it() -> None:
    attempt = begun()
    look(attempt, 100.1)
    look(attempt, 110.1)
    assert report(attempt, 110.2).is_beat
    save(attempt, 110.2)
    look(attempt, 120.2)
    attempt.tracker.current = 1
    look(attempt, 120.3)
    assert not report(attempt, 120.4).is_beat
    save(attempt, 120.4)
    look(attempt, 130.5)
    assert report(attempt, 130.6).is_beat


def test_of_two_signs_of_life_since_the_last_save_the_second_is_saved_whole() -> None:
    attempt = begun()
    look(attempt, 100.1)
    look(attempt, 110.1)
    look(attempt, 120.2)
    assert (report(attempt, 120.3).seq, report(attempt, 120.3).is_beat) == (3, False), "the row counts on by one"


def test_a_look_at_what_has_not_moved_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt, read, reads = begun(), Tracker.read, []
    monkeypatch.setattr(Tracker, "read", lambda self: reads.append(self) or read(self))
    attempt.tracker.current = 5
    for n in range(10):
        look(attempt, 100 + n / 10)
    assert len(reads) == 1


def test_what_is_put_back_after_it_was_told_is_told_again() -> None:
    attempt = begun()
    look(attempt, 100.1)
    for current in (5, 6, 5):
        attempt.tracker.current = current
        assert look(attempt, 100.2).progress.current == current


def test_a_stage_that_came_and_went_between_two_looks_is_told() -> None:
    attempt = begun()
    look(attempt, 100.1)
    assert look(attempt, 100.2) is None
    with attempt.tracker.stage("Reading", weight=0.25):
        pass
    assert look(attempt, 100.3).progress.fraction == 0.25


class Unspeakable:
    """It has no words, and is like nothing else."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equal")

    __hash__ = None


def test_what_cant_be_read_is_logged_once_and_the_attempt_shows_signs_of_life(caplog: pytest.LogCaptureFixture) -> None:
    attempt = begun()
    look(attempt, 100.1)
    attempt.tracker.current = 4
    assert look(attempt, 100.2).progress.current == 4
    for n in range(3):
        attempt.tracker.message = Unspeakable()
        assert look(attempt, 101 + n) is None
    assert look(attempt, 111).progress.current == 4
    assert len(caplog.records) == 1
    attempt.tracker.message = "Going on"
    assert look(attempt, 111.1).progress.message == "Going on"
    attempt.tracker.message = Unspeakable()
    assert attempt.finish()[1].message == "Going on"


def test_the_claim_counts_as_a_save_and_so_may_the_runners_id() -> None:
    attempt = begun()
    look(attempt, 100.1)
    attempt.tracker.current = 1
    look(attempt, 100.2)
    assert report(attempt, 103.9) is None
    assert report(attempt, 104.0).progress.current == 1


def test_what_is_saved_is_not_saved_again() -> None:
    attempt = begun()
    look(attempt, 100.1)
    attempt.tracker.current = 1
    look(attempt, 100.2)
    save(attempt, 104.0)
    assert report(attempt, 200.0) is None


def test_the_newest_that_was_told_is_saved_however_much_was_skipped() -> None:
    attempt = begun()
    look(attempt, 100.1)
    for n in range(30):
        attempt.tracker.current = n
        look(attempt, 101 + n / 10)
    assert report(attempt, 104.5).progress.current == 29


def test_what_was_never_told_is_never_saved() -> None:
    attempt = begun()
    look(attempt, 100.1)
    attempt.tracker.current = 9
    assert report(attempt, 200.0) is None


def test_a_fenced_attempt_says_no_more() -> None:
    attempt = begun()
    look(attempt, 100.1)
    attempt.tracker.current = 1
    look(attempt, 100.2)
    save(attempt, 104.0, fenced=True)
    attempt.tracker.current = 2
    assert look(attempt, 105.0) is None
    assert report(attempt, 110.0) is None


def test_a_task_whose_row_is_gone_says_no_more() -> None:
    attempt = begun()
    look(attempt, 100.1)
    attempt.tracker.current = 1
    look(attempt, 100.2)
    save(attempt, 104.0, unknown=True)
    assert attempt.over


def test_a_save_brings_back_that_cancelling_was_asked_for() -> None:
    attempt = begun()
    look(attempt, 100.1)
    attempt.tracker.current = 1
    look(attempt, 100.2)
    save(attempt, 104.0, cancel_requested=True, seq=7)
    told = look(attempt, 104.1)
    assert attempt.tracker.stopping
    assert (told.cancel_requested, told.seq) == (True, 8), "the row had counted on, and this is newer"


def test_a_cancellation_from_before_the_claim_stops_it() -> None:
    assert begun(cancel_requested=True).tracker.stopping


def test_its_last_words_outrank_all_that_was_told() -> None:
    attempt = begun()
    look(attempt, 100.1)
    attempt.tracker.current = 1
    told = look(attempt, 100.2)
    attempt.tracker.current = 2
    seq, progress = attempt.finish()
    assert seq > told.seq
    assert progress.current == 2
    assert look(attempt, 100.3) is None


def test_nothing_is_told_before_it_is_claimed() -> None:
    attempt = Attempt(lambda: None)
    attempt.tracker.current = 1
    assert look(attempt, 100) is None
    assert report(attempt, 100) is None
    assert attempt.id is None


def test_progress_from_before_a_late_claim_is_told() -> None:
    attempt = Attempt(lambda: None)
    attempt.tracker.current, attempt.tracker.total = 3, 4
    attempt.begin(begun().claim, save_every_s=SAVE_S)
    assert look(attempt, 100.1).progress.fraction is None
    assert look(attempt, 100.2).progress.fraction == 0.75


def test_a_new_label_is_told_and_saved_within_bounds() -> None:
    attempt = begun()
    look(attempt, 100.1)
    attempt.tracker.label = "x" * 10_000
    assert len(look(attempt, 100.2).label.encode()) <= 255
    assert len(report(attempt, 104.0).label.encode()) <= 255
