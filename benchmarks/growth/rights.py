"""What it costs to check the rights of connected people again: CPU time for each check, and for 10,000 connections.

python -m benchmarks.growth.rights
"""

import time
from typing import Final

from benchmarks.rig.sqlite_site import sqlite_site

PEOPLE: Final = 10_000

ROUNDS: Final = 5

PASSWORD: Final = "pbkdf2_sha256$1000000$abcdefghij${:044d}"  # noqa: S105 (no secret)
"""As long as Django's, and not computed: each would take half a second."""


def main() -> None:
    """Print the median of some rounds, on an SQLite database."""
    with sqlite_site():
        from django.contrib.auth import get_user_model

        from telltale.core.policy import Bearer
        from telltale.live import rights
        from telltale.live.rights_checker import PASS_S

        users = get_user_model().objects
        users.bulk_create([users.model(username=f"u{n}", password=PASSWORD.format(n)) for n in range(PEOPLE)])
        bearers = [
            Bearer(user=str(user.pk), is_active=True, auth=next(rights._auth_digests(user))) for user in users.all()
        ]
        spent = []
        for _ in range(ROUNDS):
            began = time.process_time()
            assert not rights.ended(bearers)
            spent.append(time.process_time() - began)
        check_s = sorted(spent)[ROUNDS // 2] / PEOPLE
        print(f"One check: {check_s * 1e6:.0f} µs of CPU time, in a thread.")
        print(f"{PEOPLE:,} people: {-(-PEOPLE // rights.BATCH)} queries every {PASS_S:.0f} s,", end=" ")
        print(f"{check_s * PEOPLE / PASS_S:.1%} of a core.")


if __name__ == "__main__":
    main()
