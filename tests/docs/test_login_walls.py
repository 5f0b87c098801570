"""docs/login-walls.md: its settings, its patterns, and its lists against the code."""

import re
import shutil
import subprocess
from pathlib import Path
from types import EllipsisType
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from telltale import conf, urls
from telltale.pages.catalogue import MESSAGES
from telltale.store.sign_in import HANDED_OVER
from tests.factories import person, task_of
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "login-walls.md").read_text()
[WALLED, PATTERNS] = re.findall(r"^```python\n# settings\.py\n(.*?)^```", PAGE, re.S | re.M)
[NGINX] = re.findall(r"^```nginx\n(.*?)^```", PAGE, re.S | re.M)
ROWS = re.findall(r"^\| (`.+`) \| (yes|no) \| .+ \|$", PAGE, re.M)

AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"


def documented() -> dict[str, bool]:
    """Whether each address is behind the wall, as the page says."""
    return {route: behind == "yes" for routes, behind in ROWS for route in re.findall(r"`(.+?)`", routes)}


def test_the_page_lists_every_address() -> None:
    routes = {re.sub(r"<\w+:\w+>", "<id>", str(pattern.pattern)) for pattern in urls.urlpatterns}
    assert documented().keys() == routes


@pytest.mark.django_db
def test_with_the_documented_middleware_each_address_is_behind_the_wall_or_not_as_listed(settings: Any) -> None:
    names: dict[str, Any] = {}
    exec(WALLED, names)  # noqa: S102 (our own page)
    added = [name for name in names["MIDDLEWARE"] if not isinstance(name, EllipsisType)]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[: settings.MIDDLEWARE.index(AUTHENTICATION)], *added]
    for pattern in urls.urlpatterns:
        url = reverse(f"telltale:{pattern.name}", args=[uuid4() for _ in pattern.pattern.converters])
        is_redirected = Client().post(url).status_code == 302
        assert is_redirected is documented()[re.sub(r"<\w+:\w+>", "<id>", str(pattern.pattern))], url
    client, ada = Client(), person("ada")
    client.force_login(ada)
    assert client.get(f"/telltale/tasks/{task_of(ada).pk}/").status_code == 200


def test_the_patterns_for_other_walls_match_what_needs_no_login_and_nothing_else() -> None:
    names: dict[str, Any] = {}
    exec(PATTERNS, names)  # noqa: S102 (our own page)
    [location] = re.findall(r"location ~ (\S+)", NGINX)
    for patterns in (names["LOGIN_FREE_PATHS"], [location]):
        for pattern in urls.urlpatterns:
            url = reverse(f"telltale:{pattern.name}", args=[uuid4() for _ in pattern.pattern.converters])
            is_free = any(re.search(free, url) for free in patterns)
            assert is_free is not documented()[re.sub(r"<\w+:\w+>", "<id>", str(pattern.pattern))], url


@pytest.mark.service
def test_nginx_accepts_the_documented_location(tmp_path: Path) -> None:
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    config = tmp_path / "nginx.conf"
    upstream = "upstream site { server 127.0.0.1:9; }"
    config.write_text(
        f"pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ {upstream} server {{ listen 127.0.0.1:9; {NGINX} }} }}"
    )
    subprocess.run([nginx, "-t", "-c", str(config)], check=True, capture_output=True)


def test_the_page_names_the_text_the_time_and_the_limit_of_the_code() -> None:
    assert f'"{MESSAGES["connection_ended"]}"' in PAGE
    assert f'"{MESSAGES["not_followed"]}"' in PAGE
    assert f"{HANDED_OVER:,} tasks" in PAGE
    assert conf.Settings().ticket_s == 300.0
    script = (ROOT / "src/telltale/static/telltale/refusal.js").read_text()
    [refusals] = re.findall(r"new Set\(\[(.*?)\]\)", script)
    assert f"in place of JSON, {refusals} |" in PAGE
