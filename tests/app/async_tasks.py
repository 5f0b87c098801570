"""An async task for `django.tasks` that stands for one of another package. Followed by `tests.settings`."""

from telltale.testing.runners import append_line
from tests.app.compat import task


@task
async def follow_me(log: str) -> None:
    append_line(log, "follow_me")
