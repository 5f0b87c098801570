"""For each documented `pip install` line: the page to follow, and the lines and commands of other pages beside it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Template
from typing import Final

from tests.push.service import PRIVATE_KEY
from tests.servers import ROOT

POSTGRES: Final = """
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "telltale",
                         "HOST": "127.0.0.1", "PORT": $POSTGRES_PORT}}
"""
LAYER: Final = """
INSTALLED_APPS += ["channels"]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [
    {"address": "$REDIS", "socket_timeout": 30}]}}}
"""
OVER_LAYER: Final = 'TELLTALE = {"BROKER": "channels://default"}'
RUNSERVER: Final = "python manage.py runserver $PORT"


@dataclass(frozen=True, kw_only=True)
class Use:
    """What follows an installation. $PORT, $OTHER_PORT, $POSTGRES_PORT and $REDIS stand for those of servers."""

    page: str = "runners/threads-and-commands.md"
    """Below docs/."""
    project: str = "shop"
    """The project's name."""
    settings: str = ""
    """Lines after those of the page."""
    urls: str = ""
    """Lines after those of the README."""
    site: str = RUNSERVER
    """The command that serves the site, at $PORT."""
    other: str | None = None
    """A command that serves at $OTHER_PORT."""
    connected: str = "polling"
    """How pages hear of tasks; `runserver` holds no connections."""

    @property
    def needs_redis(self) -> bool:
        """Whether the page or the settings name a Redis server."""
        return "$REDIS" in self.settings or "redis://localhost" in text_of(self.page)

    @property
    def needs_postgres(self) -> bool:
        """Whether the project's database is on PostgreSQL."""
        return "$POSTGRES_PORT" in self.settings

    def settings_with(self, addresses: Mapping[str, str]) -> str:
        """Return the lines of the settings."""
        return Template(self.settings).substitute(addresses)

    def servers_at(self, addresses: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Yield the commands that serve, each with its port."""
        if self.other:
            yield Template(self.other).substitute(addresses), addresses["OTHER_PORT"]
        yield Template(self.site).substitute(addresses), addresses["PORT"]


def text_of(page: str) -> str:
    """Return the text of a page below docs/."""
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def command_of(page: str, start: str) -> str:
    """Return the first command of a page that starts so."""
    [command, *_] = re.findall(rf"^({re.escape(start)}.*?)(?:  +#.*)?$", text_of(page), re.M)
    return str(command)


def block_of(page: str, start: str) -> str:
    """Return the first block of Python of a page that starts so."""
    [block, *_] = re.findall(rf"```python\n({re.escape(start)}.*?)```", text_of(page), re.S)
    return str(block)


USES: Final = {
    "django-telltale": Use(),
    "django-telltale[celery]": Use(page="runners/celery.md"),
    "django-telltale[tasks]": Use(page="runners/django-tasks.md"),
    "django-telltale[rq]": Use(page="runners/rq.md"),
    "django-telltale[dramatiq]": Use(page="runners/dramatiq.md"),
    "django-telltale[huey]": Use(page="runners/huey.md"),
    "django-telltale[procrastinate]": Use(page="runners/procrastinate.md", settings=POSTGRES),
    "django-telltale[q2]": Use(page="runners/django-q.md"),
    "django-telltale[channels]": Use(page="runners/channels.md", settings=OVER_LAYER),
    "django-telltale[channels] daphne": Use(
        page="runners/channels.md", settings='INSTALLED_APPS = ["daphne", *INSTALLED_APPS]', connected="live"
    ),
    "django-telltale[celery,channels]": Use(page="runners/celery.md", settings=LAYER + OVER_LAYER),
    "django-telltale[server]": Use(
        project="mysite",
        site=command_of("live-server.md", "uvicorn mysite") + " --port $PORT",
        other="python " + command_of("live-server.md", "manage.py telltale serve") + " --port $OTHER_PORT",
        connected="live",
    ),
    "django-telltale[redis]": Use(settings='TELLTALE = {"BROKER": "$REDIS"}'),
    "django-telltale[postgres] psycopg[binary]": Use(settings=POSTGRES + 'TELLTALE = {"BROKER": "postgres://"}'),
    "django-telltale[push]": Use(
        settings=f'PUSH = {{"VAPID_PRIVATE_KEY": "{PRIVATE_KEY}", "VAPID_SUBJECT": "mailto:you@example.com"}}\n'
        'TELLTALE = {"PUSH": PUSH}'
    ),
    "django-telltale[pusher]": Use(
        other=command_of("pusher.md", "python -m telltale.pusher").replace("6001", "$OTHER_PORT"),
        settings='TELLTALE = {"BROKER": "pusher://app-key:app-secret@127.0.0.1:$OTHER_PORT/1?tls=0"}',
        urls=block_of("brokers.md", "urlpatterns").replace("[", "[*urlpatterns, ", 1),
    ),
}
"""By the words after `pip install`."""
