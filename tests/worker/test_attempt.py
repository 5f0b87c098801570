"""The arithmetic of one attempt: what it publishes and saves, and when."""

from math import ceil
from uuid import uuid4

import pytest

from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.store import Claim, Report, Saved
from telltale.worker.attempt import Attempt
from telltale.worker.tracker import Tracker

ID = uuid4()
BEAT_S = 10.0
SAVE_S = 2.0


def begun(*, seq: int = 1, cancel_requested: bool = False, usual_s: tuple[float, float] | None = None) -> Attempt:
    snapshot = Snapshot(
        id=str(ID),
        attempt=1,
        seq=seq,
        state=State.RUNNING,
        label="Work",
        started_at=100,
        beat_at=100,
        usual_s=usual_s,
    )
    attempt = Attempt(task_id=ID)
    claim = Claim(
        id=ID, attempt=1, seq=seq, topics=(f"task:{ID}",), snapshot=snapshot, cancel_requested=cancel_requested
    )
    attempt.begin(claim, save_every_s=SAVE_S)
    return attempt


def publish(attempt: Attempt, now: float) -> Snapshot | None:
    """The snapshot that the reporter would publish."""
    return attempt.next_snapshot(now=now, beat_s=BEAT_S)


def report(attempt: Attempt, now: float) -> Report | None:
    """The report that the saver would save."""
    return attempt.report() if attempt.is_save_due(now=now, save_every_s=SAVE_S) else None


def save(attempt: Attempt, now: float, **outcome: object) -> None:
    """Save the report and give the attempt the store's answer."""
    due = report(attempt, now)
    assert due is not None
    answer = Saved(**({"id": ID, "attempt": 1, "fenced": False, "seq": due.seq} | outcome))
    attempt.record_save(due, answer, now=now)


def test_the_snapshot_of_the_claim_is_published_first() -> None:
    attempt = begun()
    assert publish(attempt, 100.1) == attempt.claim.snapshot
    assert publish(attempt, 100.2) is None


def test_a_change_has_the_next_seq_and_the_time_at_which_the_progress_moved() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.current, attempt.tracker.total = 1, 4
    published = publish(attempt, 100.5)
    assert (published.seq, published.progress.fraction, published.moved_at, published.beat_at) == (
        2,
        0.25,
        100.5,
        100.5,
    )


def test_a_heartbeat_does_not_change_the_time_at_which_the_progress_moved() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    assert publish(attempt, 109.9) is None
    published = publish(attempt, 110.1)
    assert (published.seq, published.moved_at, published.beat_at) == (2, None, 110.1)


def test_a_heartbeat_is_saved_as_one_unless_a_change_was_published_too() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    publish(attempt, 110.1)
    assert report(attempt, 110.2).is_beat
    save(attempt, 110.2)
    publish(attempt, 120.2)
    attempt.tracker.current = 1
    publish(attempt, 120.3)
    assert not report(attempt, 120.4).is_beat
    save(attempt, 120.4)
    publish(attempt, 130.5)
    assert report(attempt, 130.6).is_beat


def test_a_heartbeat_with_a_time_left_is_saved_with_it() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    for n in range(20):
        attempt.tracker.current, attempt.tracker.total = n, 40
        publish(attempt, 101.0 + n)
    save(attempt, 120.1)
    beat = publish(attempt, 130.1)
    saved = report(attempt, 130.2)
    assert beat.remaining_s is not None
    assert (saved.is_beat, saved.remaining_s, saved.remaining_spread) == (False, beat.remaining_s, None)


def test_the_time_left_heeds_how_long_earlier_runs_took() -> None:
    def remaining_s(usual_s: tuple[float, float] | None) -> float | None:
        attempt = begun(usual_s=usual_s)
        for second in range(1, 21):
            attempt.tracker.current, attempt.tracker.total = second, 100
            published = publish(attempt, 100.0 + second)
        assert published is not None
        return published.remaining_s

    assert remaining_s(None) == pytest.approx(80, abs=2)
    assert 130 < (remaining_s((200.0, 210.0)) or 0.0) < 180


def test_a_pace_that_varies_is_published_and_saved_with_its_spread() -> None:
    attempt, now = begun(), 100.1
    publish(attempt, now)
    for n in range(15):
        now += 2 if n % 2 else 6
        attempt.tracker.current, attempt.tracker.total = n, 20
        published = publish(attempt, now)
    assert 0.2 < published.remaining_spread < 0.8
    assert report(attempt, now).remaining_spread == published.remaining_spread


def test_after_two_heartbeats_since_the_last_save_the_whole_report_is_saved() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    publish(attempt, 110.1)
    publish(attempt, 120.2)
    assert (report(attempt, 120.3).seq, report(attempt, 120.3).is_beat) == (3, False), (
        "the store adds 1 to the row for a heartbeat, which would give 2"
    )


def test_an_unchanged_tracker_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt, read, reads = begun(), Tracker.read, []
    monkeypatch.setattr(Tracker, "read", lambda self: reads.append(self) or read(self))
    attempt.tracker.current = 5
    for n in range(10):
        publish(attempt, 100 + n / 10)
    assert len(reads) == 1


def test_a_value_that_returns_to_an_earlier_one_is_published_again() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    for current in (5, 6, 5):
        attempt.tracker.current = current
        assert publish(attempt, 100.2).progress.current == current


def test_a_stage_that_begins_and_ends_between_two_readings_is_published() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    assert publish(attempt, 100.2) is None
    with attempt.tracker.stage("Reading", weight=0.25):
        pass
    assert publish(attempt, 100.3).progress.fraction == 0.25


class Unreadable:
    """An object without text that can't be compared."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None


def test_values_that_cannot_be_read_are_logged_once_and_heartbeats_go_on(caplog: pytest.LogCaptureFixture) -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.current = 4
    assert publish(attempt, 100.2).progress.current == 4
    for n in range(3):
        attempt.tracker.message = Unreadable()
        assert publish(attempt, 101 + n) is None
    assert publish(attempt, 111).progress.current == 4
    assert len(caplog.records) == 1
    attempt.tracker.message = "Going on"
    assert publish(attempt, 111.1).progress.message == "Going on"
    attempt.tracker.message = Unreadable()
    assert attempt.finish()[1].message == "Going on"


def test_the_first_save_comes_half_a_period_after_the_claim_and_the_second_after_three_periods() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.current = 1
    publish(attempt, 100.2)
    assert report(attempt, 100.9) is None
    assert report(attempt, 101.0).progress.current == 1
    save(attempt, 101.0)
    attempt.tracker.current = 2
    publish(attempt, 101.1)
    assert report(attempt, 105.9) is None
    assert report(attempt, 106.0).progress.current == 2


@pytest.mark.parametrize("first_change_s", [0.0, 1.5, 2.5, 7.0])
def test_saves_keep_the_bound_of_writes_at_every_moment(first_change_s: float) -> None:
    attempt, saves = begun(), 0
    publish(attempt, 100.0)
    for tenths in range(int(10 * first_change_s), 400):
        took_s = tenths / 10
        attempt.tracker.current += 1
        publish(attempt, 100 + took_s)
        if report(attempt, 100 + took_s):
            save(attempt, 100 + took_s)
            saves += 1
        # The row and the claim are two writes; the end would be the third.
        assert 2 + saves <= 3 + took_s / SAVE_S
        assert 3 + saves <= 3 + (took_s / SAVE_S if took_s >= SAVE_S else ceil(took_s / SAVE_S))
        if took_s >= 2 * SAVE_S:
            # There is room for one more write, which notes the id that a runner has chosen.
            assert 4 + saves <= 3 + took_s / SAVE_S
    assert saves >= (40 - first_change_s) / SAVE_S - 2


def test_a_saved_snapshot_is_not_saved_again() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.current = 1
    publish(attempt, 100.2)
    save(attempt, 104.0)
    assert report(attempt, 200.0) is None


def test_the_newest_published_snapshot_is_saved_and_those_before_it_are_skipped() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    for n in range(30):
        attempt.tracker.current = n
        publish(attempt, 101 + n / 10)
    assert report(attempt, 104.5).progress.current == 29


def test_a_change_that_was_not_published_is_not_saved() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.current = 9
    assert report(attempt, 200.0) is None


def test_a_fenced_attempt_publishes_and_saves_nothing_more() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.current = 1
    publish(attempt, 100.2)
    save(attempt, 104.0, fenced=True)
    attempt.tracker.current = 2
    assert publish(attempt, 105.0) is None
    assert report(attempt, 110.0) is None


def test_an_attempt_whose_row_was_deleted_is_over() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.current = 1
    publish(attempt, 100.2)
    save(attempt, 104.0, unknown=True)
    assert attempt.is_over


def test_the_answer_to_a_save_brings_a_requested_cancellation() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.current = 1
    publish(attempt, 100.2)
    save(attempt, 104.0, cancel_requested=True, seq=7)
    published = publish(attempt, 104.1)
    assert attempt.tracker.stopping
    assert (published.cancel_requested, published.seq) == (True, 8), "the row has seq 7, and this is newer"


def test_a_cancellation_that_was_requested_before_the_claim_stops_the_task() -> None:
    assert begun(cancel_requested=True).tracker.stopping


def test_the_end_has_a_higher_seq_than_all_published_snapshots() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.current = 1
    published = publish(attempt, 100.2)
    attempt.tracker.current = 2
    seq, progress = attempt.finish()
    assert seq > published.seq
    assert progress.current == 2
    assert publish(attempt, 100.3) is None


def test_nothing_is_published_or_saved_before_the_claim() -> None:
    attempt = Attempt(task_id=ID)
    attempt.tracker.current = 1
    assert publish(attempt, 100) is None
    assert report(attempt, 100) is None
    assert attempt.id is None


def test_progress_that_was_set_before_a_late_claim_is_published() -> None:
    attempt = Attempt(task_id=ID)
    attempt.tracker.current, attempt.tracker.total = 3, 4
    attempt.begin(begun().claim, save_every_s=SAVE_S)
    assert publish(attempt, 100.1).progress.fraction is None
    assert publish(attempt, 100.2).progress.fraction == 0.75


def test_a_new_label_is_published_and_saved_within_its_bound() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.label = "x" * 10_000
    assert len(publish(attempt, 100.2).label.encode()) <= 255
    assert len(report(attempt, 104.0).label.encode()) <= 255


def test_f39_a_clock_that_is_put_back_holds_neither_beats_nor_saves_back() -> None:
    attempt = begun()
    publish(attempt, 100.1)
    attempt.tracker.current, attempt.tracker.total = 1, 4
    publish(attempt, 110.0)
    save(attempt, 110.0)
    assert publish(attempt, 80.0) is not None  # Nothing has changed, but its last beat seems to be in the future.
    assert publish(attempt, 80.1) is None
    attempt.tracker.current = 2
    published = publish(attempt, 80.2)
    assert published is not None
    assert published.progress.fraction == 0.5
    save(attempt, 80.2)
    attempt.tracker.current = 3
    publish(attempt, 80.3)
    assert report(attempt, 80.4) is None
    save(attempt, 80.2 + SAVE_S)
