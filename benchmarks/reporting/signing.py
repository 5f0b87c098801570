"""What signing a broker's messages costs: `python -m benchmarks.reporting.signing`.

A snapshot as workers publish it, of about 800 bytes: signing, verifying, and for comparison the check of an unsigned
one. A second key, as in `SECRET_KEY_FALLBACKS`, costs time for messages of the old key alone. No service is needed.
"""

from collections.abc import Callable

from benchmarks.reporting.timing import us_each
from telltale.brokers.signing import Signer
from telltale.core.foreign import check_foreign
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope

ROUNDS = 20_000


def best_us(run: Callable[[], object]) -> float:
    """The microseconds that a call takes, in the best repeat."""
    return min(us_each(lambda: [run() for _ in range(ROUNDS)], ROUNDS))


def main() -> None:
    """Print a table."""
    progress = Progress(fraction=0.42, current=12_400, total=28_000, unit="rows", message="Importing contacts")
    snapshot = Snapshot(
        id="4b8e2b1c-0000-4000-8000-000000000000", attempt=1, seq=12, state=State.RUNNING, progress=progress,
        name="shop.tasks.import_contacts", label="Import contacts", created_at=1.79e9, started_at=1.79e9,
        moved_at=1.79e9, beat_at=1.79e9,
    )  # fmt: skip
    body = Envelope(topics=(f"task:{snapshot.id}", "user:7"), snapshot=snapshot).to_bytes()
    signer, rotated = Signer([b"new"]), Signer([b"newer", b"new"])
    message = signer.sign(body)
    print(f"A body of {len(body)} bytes, and one of {len(message)} with its signature; µs each, the best repeat")
    print(f"sign                       {best_us(lambda: signer.sign(body)):6.2f}")
    print(f"verify                     {best_us(lambda: signer.verify(message)):6.2f}")
    print(f"verify, of the old key     {best_us(lambda: rotated.verify(message)):6.2f}")
    print(f"read the head              {best_us(lambda: Envelope.from_bytes(body)):6.2f}")
    print(f"check an unsigned one      {best_us(lambda: check_foreign(Envelope.from_bytes(body))):6.2f}")


if __name__ == "__main__":
    main()
