"""A user's primary key may be of any type: what the user owns is theirs, and live on every transport."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.accounts.site import AccountsSite, browser, page_data
from tests.servers import running
from tests.transports.conftest import CLIENTS

pytestmark = pytest.mark.service

KEYS = [
    ("integer", "7"),
    ("big integer", str(2**62)),
    ("uuid", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ("email", "ada.lovelace+imports@example.org"),
    ("text", "Ærø 7/a"),
    ("text", "100%"),
]


@pytest.fixture(params=KEYS, ids=lambda key: key[1])
def site_and_key(request: pytest.FixtureRequest) -> Iterator[tuple[AccountsSite, str]]:
    kind, key = request.param

    def make(directory: Path) -> AccountsSite:
        return AccountsSite(directory, KEY_KIND=kind)

    with running(make) as site:
        yield site, key


def test_a_users_tasks_are_live_whatever_their_primary_key_is(site_and_key: tuple[AccountsSite, str]) -> None:
    site, key = site_and_key
    with browser(site) as client:
        assert client.post("/sign-in/", data={"key": key}).text == key
        task = client.post("/start/", headers={"Accept": "application/json"}).json()["id"]
        page = page_data(client)
        assert [topic.partition(":")[0] for topic in page["topics"]] == ["user"]
        with ExitStack() as stack:
            followers = [make(site, page["ticket"]) for make in CLIENTS.values()]
            for follower in followers:
                stack.callback(follower.close)
                follower.snapshot(task, lambda snapshot: snapshot["state"] == "running")
            client.post("/release/")
            for follower in followers:
                follower.snapshot(task, lambda snapshot: snapshot["state"] == "succeeded")
                follower.until(
                    lambda message: [n for n in message.get("notices", []) if n["topic"] == page["topics"][0]]
                )
        assert client.get(f"/telltale/tasks/{task}/", headers={"Accept": "text/html"}).status_code == 200
        listed = client.get("/telltale/tasks/", headers={"Accept": "application/json"}).json()["tasks"]
        assert [(row["id"], row["state"]) for row in listed] == [(task, "succeeded")]
