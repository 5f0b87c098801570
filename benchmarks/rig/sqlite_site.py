"""A Django site on an SQLite file of its own, for measurements within this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def sqlite_site() -> Iterator[None]:
    """Set Django up with the tests' settings and a migrated database, which is removed with its directory."""
    with TemporaryDirectory(prefix="telltale-bench-") as directory:
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        os.environ["TELLTALE_BROKER"] = "none://"
        os.environ["TELLTALE_TEST_DB"] = str(Path(directory) / "bench.sqlite3")
        os.environ["TELLTALE_TEST_CONN_MAX_AGE"] = "600"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        yield
