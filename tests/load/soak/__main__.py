"""`python -m tests.load.soak --minutes 30 --followers 10000 --updates 500`: the soak, with real processes.

A live server, Redis, two workers, and the followers in this process. In the first half: all followers arrive, 200 a
second; a storm of as many who leave at once; the server is restarted; Redis is restarted; a worker is killed; the
server is killed. The second half is undisturbed, and shows what grows. Then the workers let their tasks end, and an
oracle reads the database and compares each follower's last view with it. The exit status is 1 if anything is wrong.

The database is SQLite; on PostgreSQL: `python -m tests.servers postgres -- python -m tests.load.soak …`.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import django


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--followers", type=int, default=10_000)
    parser.add_argument("--updates", type=float, default=500.0, help="a second, of all tasks together")
    parser.add_argument("--connects", type=float, default=200.0, help="a second, at the beginning and in the storm")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write-docs", action="store_true", help="write the figures into docs/soak.md")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the soak; return 0 if nothing is wrong."""
    options = options_of(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="telltale-soak-") as name:
        directory = Path(name)
        # PostgreSQL's data directory must be open to its own user; a file of SQLite is ours.
        if not (os.environ.get("TELLTALE_TEST_POSTGRES") or os.environ.get("TELLTALE_TEST_MARIADB")):
            os.environ["TELLTALE_TEST_DB"] = str(directory / "soak.sqlite3")
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.transports.process_settings"
        django.setup()
        from tests.load.soak.report import publish
        from tests.load.soak.schedule import run

        record = run(directory, options)
    publish(record, write_docs=options.write_docs)
    return 0 if record["is_clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
