"""Texts that an attacker chose, in pages, in streams and in logs: they stay texts."""

import logging
import re
from html.parser import HTMLParser

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

import telltale
from telltale.core.snapshot import Progress
from telltale.core.states import State
from telltale.core.topics import InvalidTopic, is_topic, parse_open, user_topic
from telltale.live import tickets
from telltale.management.watch.shown import printable
from telltale.models import TaskState
from telltale.transports.sse import event_bytes
from tests.factories import ended, person, started, task_of

CORPUS = [
    "<xss onxss=1>",
    "\"><xss onxss='1'>",
    "'><xss/onxss=`1`>",
    "</script><xss>",
    "<!--<script><xss>",
    "</title></textarea></style><xss>",
    '" onxss="1',
    "' autofocus onxss='1",
    "{{ xss }}{% xss %}",
    "&lt;xss&gt;",
    "\u2028</script\u2029><xss>",
    "<svg><xss onxss=1></svg>",
]
LINKS = [
    "javascript:xss()",
    "JaVaScRiPt:xss()",
    " javascript:xss()",
    "java\tscript:xss()",
    "data:text/html,<xss>",
    "vbscript:xss",
]


class Elements(HTMLParser):
    """The elements of a page, with what would run or load as a script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "xss" or any(name.startswith("on") for name, _ in attrs):
            self.bad.append(self.get_starttag_text() or tag)
        for name, value in attrs:
            link = re.sub(r"[\s\0]", "", value or "").lower()
            if name in {"href", "src", "action", "formaction"} and link.startswith(
                ("javascript:", "data:", "vbscript:")
            ):
                self.bad.append(f"{name}={value}")


@pytest.mark.django_db
def test_s29_hostile_texts_and_links_are_inert_on_every_page() -> None:
    root = person("<xss>root", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(root)
    pages = ["/telltale/tasks/", "/telltale/messages/", "/admin/telltale/taskstate/"]
    for text, link in zip(CORPUS, [*LINKS, *LINKS], strict=True):
        progress = Progress(message=text, unit=text, stage=text, current=1.0, total=2.0).to_json()
        running, failed = task_of(root, label=text), task_of(root, label=text)
        started(running)
        ended(started(failed), State.FAILED, error=text, detail=text, result=link)
        TaskState.objects.filter(pk__in=[running.pk, failed.pk]).update(progress=progress, name=text, result=link)
        telltale.notify(root, text)
        pages += [f"/telltale/tasks/{task.pk}/" for task in (running, failed)]
        pages.append(f"/admin/telltale/taskstate/{failed.pk}/change/")
    for page in pages:
        response = client.get(page, headers={"Accept": "text/html"}, follow=True)
        assert response.status_code == 200
        assert "xss" in response.content.decode()
        assert Elements(response.content.decode()).bad == [], page


def events_of(stream: str) -> list[tuple[str, str]]:
    """The type and the data of each event, as a browser reads a stream."""
    events, kind, data = [], "message", []
    for line in re.split(r"\r\n|\n|\r", stream):
        name, _, value = line.partition(":")
        if not line:
            if data:
                events.append((kind, "\n".join(data)))
            kind, data = "message", []
        elif name == "data":
            data.append(value.removeprefix(" "))
        elif name == "event":
            kind = value
    return events


@given(st.text(alphabet=st.sampled_from("a\r\n\0:\u2028\u2029\u0085 {}") | st.characters(codec="utf-8")))
def test_s32_any_text_is_one_event_of_a_stream_with_its_data_whole(text: str) -> None:
    data = f"{{{text}"
    [(kind, received)] = events_of(event_bytes(data).decode())
    assert (kind, received) == ("message", re.sub(r"\r\n|\r", "\n", data))


@given(st.text(max_size=40) | st.text(alphabet="task:user*>.%/\n\0?[]{}$#-_ 7", max_size=40))
def test_s18_a_topic_has_no_sign_that_a_broker_reads_as_a_pattern(text: str) -> None:
    # * and > are wildcards of NATS; * ? [ ] of Redis; a line break would end a head of an envelope.
    if is_topic(text):
        assert text.isascii()
        assert not set(text) & set("*>?[]\\/ \t\r\n\0")
    else:
        with pytest.raises(InvalidTopic):
            parse_open(text)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["*", ">", "a.b", ":", "%", "%2F", "\n", "x" * 4_096, "\0", "../tasks", "' OR 1=1 --"])
def test_s18_hostile_ids_are_no_ids(name: str) -> None:
    ada = person("ada")
    client = Client()
    client.force_login(ada)
    body = {"topics": [f"task:{name}", f"user:{name}", user_topic(ada.pk)]}
    granted = client.post("/telltale/ticket/", body, content_type="application/json").json()
    assert granted["topics"] == [user_topic(ada.pk)]
    headers = {"Accept": "application/json"}
    assert client.get("/telltale/tasks/", {"id": [name]}, headers=headers).json()["tasks"] == []


@given(st.text())
def test_s27_a_terminal_gets_one_line_of_visible_signs(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert not set(shown) & set("\x1b\x07\r\n\u202e\u2066\u200f")


@pytest.mark.django_db
def test_s27_what_a_request_says_forges_no_line_of_a_log_and_no_secret_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ada = person("ada")
    client = Client(raise_request_exception=False)
    client.force_login(ada)
    ticket = tickets.issue([user_topic(ada.pk)])
    hostile = "x\r\nERROR forged: \x1b[2J"
    with caplog.at_level(logging.DEBUG, logger="telltale"):
        for path in ("/telltale/live/", "/telltale/ticket/", "/telltale/notices/%0d%0aERROR%20forged/take/"):
            headers = {"Authorization": f"Bearer {ticket}", "User-Agent": hostile, "Origin": hostile, "Accept": hostile}
            client.post(path, hostile, "application/json", headers=headers)
        client.get("/telltale/tasks/%0d%0aERROR%20forged/")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("telltale")]
    session = client.cookies["sessionid"].value
    for line in lines:
        assert "\n" not in line
        assert "\x1b" not in line
        assert ticket not in line
        assert session not in line
