"""The tags: what they put into a page, with hashed files, under a strict policy, and before any script runs."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID

import csp.constants
import pytest
from django import VERSION as DJANGO_VERSION
from django.core.management import call_command
from django.http import HttpRequest
from django.template import Context, Template, TemplateSyntaxError
from django.test import Client, RequestFactory, override_settings
from django.utils import translation
from django.utils.module_loading import import_string

from telltale import store
from telltale.core.states import ENDS, State
from telltale.live import tickets
from telltale.models import TaskState
from telltale.templatetags.telltale import MODULES, bar_value, import_map, safe_url
from tests.factories import ended, person, started, task_of

STATIC = Path(__file__).parents[2] / "src" / "telltale" / "static" / "telltale"


class Page(HTMLParser):
    """Every element of a page with its attributes, and the text within each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts and not self.scripts[-1][1]:
            self.scripts[-1] = (self.scripts[-1][0], data)

    def script(self, kind: str) -> str:
        return next(text for attributes, text in self.scripts if attributes.get("type") == kind)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def of_class(self, name: str) -> dict[str, str | None]:
        return next(a for _, a in self.elements if name in (a.get("class") or "").split())


def asked(user: Any = None) -> HttpRequest:
    request = RequestFactory().get("/imports/7/?tab=2")
    if user is not None:
        request.user = user
    return request


def rendered(text: str, request: HttpRequest, **more: Any) -> Page:
    return Page(Template("{% load telltale %}" + text).render(Context({"request": request, **more})))


def bar(task: TaskState, user: Any = None, text: str = "{% task_progress task %}") -> Page:
    return rendered(text, asked(user), task=task)


def row(state: State = State.RUNNING, **more: Any) -> TaskState:
    """A task that needs no database."""
    now = store.now()
    fields: dict[str, Any] = {"label": "Import airports", "runner": "thread", "name": "x", "created_at": now - 60}
    if state is not State.QUEUED:
        fields |= {"started_at": now - 50, "moved_at": now, "beat_at": now}
    if state in ENDS:
        fields |= {"ended_at": now}
    return TaskState(state=state.value, **(fields | more))


# Files ------------------------------------------------------------------------------------------


@pytest.fixture(
    params=[
        "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
        "whitenoise.storage.CompressedManifestStaticFilesStorage",
    ]
)
def collected(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    storages = {"staticfiles": {"BACKEND": request.param}}
    with override_settings(STORAGES=storages, STATIC_ROOT=str(tmp_path), STATIC_URL="/static/", DEBUG=False):
        call_command("collectstatic", verbosity=0, interactive=False)
        yield tmp_path


@pytest.mark.django_db
def test_every_module_of_the_import_map_is_there_under_its_hashed_name(collected: Path) -> None:
    page = rendered("{% telltale %}", asked())
    imports = json.loads(page.script("importmap"))["imports"]
    assert imports.keys() == {"telltale", *(f"telltale/{module}" for module in MODULES)}
    addresses = [*imports.values(), *(str(link["href"]) for link in page.all("link"))]
    addresses += [str(script["src"]) for script in page.all("script") if "src" in script]
    for address in addresses:
        assert re.search(r"\.[0-9a-f]{12}\.(js|css)$", address), address
        assert (collected / address.removeprefix("/static/")).is_file(), address


@pytest.mark.django_db
def test_a_collected_module_is_what_was_written_and_its_imports_are_in_the_map(collected: Path) -> None:
    for name, address in import_map().items():
        served = (collected / address.removeprefix("/static/")).read_text(encoding="utf-8")
        source = STATIC / ("index.js" if name == "telltale" else name.removeprefix("telltale/"))
        assert served == source.read_text(encoding="utf-8")


def test_no_module_imports_by_a_path_for_hashing_would_lead_it_to_another_version() -> None:
    known = import_map().keys()
    for module in STATIC.glob("*.js"):
        imported = re.findall(r"""\b(?:from|import)\s*\(?\s*["']([^"']+)["']""", module.read_text(encoding="utf-8"))
        assert set(imported) <= known, module.name


def test_no_module_is_dead() -> None:
    alive, unread = {"elements.js", "index.js"}, ["elements.js", "index.js"]
    while unread:
        found = re.findall(r'(?:from|import) "telltale/([^"]+)"', (STATIC / unread.pop()).read_text(encoding="utf-8"))
        unread += {*found} - alive
        alive |= {*found}
    assert alive == {*MODULES}


def test_the_style_sheet_brings_nothing_from_elsewhere() -> None:
    assert "url(" not in (STATIC / "telltale.css").read_text(encoding="utf-8")


# A strict policy --------------------------------------------------------------------------------


@pytest.mark.parametrize("from_context", [True, False], ids=["Django's", "django-csp's"])
@pytest.mark.django_db
def test_everything_that_a_policy_asks_about_carries_the_nonce(from_context: bool) -> None:
    request = asked()
    if not from_context:
        request.csp_nonce = "r4nd0m"  # type: ignore[attr-defined]
    page = rendered("{% telltale %}", request, **({"csp_nonce": "r4nd0m"} if from_context else {}))
    assert len(page.all("script")) == 3
    assert {script.get("nonce") for script in page.all("script")} == {"r4nd0m"}
    assert {link.get("nonce") for link in page.all("link") if link["rel"] == "modulepreload"} == {"r4nd0m"}


def nonces_of_page_and_policy(client: Client) -> tuple[set[str | None], set[str]]:
    """Of the scripts in the list of tasks, and of the policy that it was sent with."""
    client.force_login(person())
    answer = client.get("/telltale/tasks/", headers={"accept": "text/html"})
    page = Page(answer.content.decode())
    assert len(page.all("script")) == 3
    carried = {a.get("nonce") for a in page.all("script") + page.all("link") if a.get("rel") != "stylesheet"}
    return carried, set(re.findall(r"'nonce-([^']+)'", answer.headers["Content-Security-Policy"]))


@pytest.mark.django_db
def test_scripts_carry_the_nonce_that_django_csp_makes_when_it_is_read(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = ["csp.middleware.CSPMiddleware", *settings.MIDDLEWARE]
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"script-src": [csp.constants.SELF, csp.constants.NONCE]}}
    carried, allowed = nonces_of_page_and_policy(client)
    assert len(allowed) == 1
    assert carried == allowed


@pytest.mark.skipif(DJANGO_VERSION < (6, 0), reason="Django has a policy of its own from 6.0 on")
@pytest.mark.parametrize("in_context", [True, False], ids=["with its context processor", "without"])
@pytest.mark.django_db
def test_scripts_carry_the_nonce_that_django_makes_when_it_is_read(
    client: Client, settings: Any, in_context: bool
) -> None:
    settings.MIDDLEWARE = ["django.middleware.csp.ContentSecurityPolicyMiddleware", *settings.MIDDLEWARE]
    settings.SECURE_CSP = {"script-src": ["'self'", import_string("django.utils.csp.CSP").NONCE]}
    if in_context:
        processor = "django.template.context_processors.csp"
        settings.TEMPLATES = copy.deepcopy(settings.TEMPLATES)
        settings.TEMPLATES[0]["OPTIONS"]["context_processors"].append(processor)
    carried, allowed = nonces_of_page_and_policy(client)
    assert len(allowed) == 1
    assert carried == allowed


@pytest.mark.django_db
def test_without_a_policy_there_is_no_nonce() -> None:
    assert all("nonce" not in attributes for _, attributes in rendered("{% telltale %}", asked()).elements)


@pytest.mark.django_db
def test_the_import_map_comes_before_any_module() -> None:
    page = rendered("{% telltale %}", asked())
    kinds = [a.get("type") or a.get("rel") for tag, a in page.elements if tag in {"script", "link"}]
    assert kinds.index("importmap") < min(kinds.index("modulepreload"), kinds.index("module"))


def test_no_element_has_a_style_or_a_handler_of_its_own(client: Any, db: None) -> None:
    ada = person()
    client.force_login(ada)
    claim = started(task_of(ada, label='"><script>alert(1)</script>'))
    pages = [client.get(f"/telltale/tasks/{claim.id}/", headers={"accept": "text/html"})]
    ended(claim, State.FAILED, error="<img src=x onerror=alert(2)>")
    pages += [client.get(f"/telltale/tasks/{path}", headers={"accept": "text/html"}) for path in ("", f"{claim.id}/")]
    for answer in pages:
        assert answer.status_code == 200
        page = Page(answer.content.decode())
        for tag, attributes in page.elements:
            assert tag not in {"style", "img"}
            assert not [name for name in attributes if name == "style" or name.startswith("on")], (tag, attributes)
        assert all(set(a) <= {"type", "src", "id", "nonce"} for a in page.all("script"))


@pytest.mark.django_db
def test_data_in_the_page_cannot_end_its_script() -> None:
    shared = task_of(label="x")
    with translation.override("en"):
        page = rendered("{% telltale task %}", asked(), task=shared)
    block = page.script("application/json")
    assert "<" not in block
    assert json.loads(block)["texts"]["messages"]["succeeded"] == "Done"


# What the script is told ------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_page_brings_a_ticket_for_what_its_visitor_may_hear() -> None:
    ada, eve = person("ada"), person("eve")
    theirs, not_theirs = task_of(ada), task_of(eve)
    page = rendered("{% telltale one two %}", asked(ada), one=theirs, two=not_theirs)
    data = json.loads(page.script("application/json"))
    assert data["topics"] == sorted({f"task:{theirs.pk}", f"user:{ada.pk}"})
    assert tickets.verify(data["ticket"]).topics == {*data["topics"]}


@pytest.mark.django_db
def test_a_cookie_that_scripts_cannot_read_is_not_looked_for() -> None:
    for setting, cookie in ((False, "csrftoken"), (True, None)):
        with override_settings(CSRF_COOKIE_HTTPONLY=setting):
            data = json.loads(rendered("{% telltale %}", asked()).script("application/json"))
        assert data["csrf"]["cookie"] == cookie
        assert len(data["csrf"]["token"]) == 64


@pytest.mark.parametrize("tag", ["{% telltale %}", "{% task_progress task %}"])
def test_without_the_request_a_tag_says_what_is_missing(tag: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=r"context_processors\.request"):
        Template("{% load telltale %}" + tag).render(Context({"task": row()}))


# The bar before the script ----------------------------------------------------------------------


@pytest.mark.parametrize("state", State, ids=str)
def test_every_state_has_its_words_and_a_named_bar(state: State) -> None:
    page = bar(row(state))
    element, progress = page.all("task-progress")[0], page.all("progress")[0]
    assert element["state"] == state.value
    assert progress["aria-label"] == "Import airports"
    assert progress["max"] == "1"


@pytest.mark.parametrize(("silent_s", "still_s", "health"), [(0, 0, "ok"), (0, 90, "quiet"), (50, 50, "stalled")])
def test_a_running_tasks_health_is_there_without_scripts(silent_s: float, still_s: float, health: str) -> None:
    now = store.now()
    assert bar(row(beat_at=now - silent_s, moved_at=now - still_s)).all("task-progress")[0]["health"] == health


def test_only_a_running_task_has_health() -> None:
    assert "health" not in bar(row(State.QUEUED)).all("task-progress")[0]


def test_an_unknown_total_is_an_indeterminate_bar_not_an_empty_one() -> None:
    assert "value" not in bar(row(progress={"current": 7})).all("progress")[0]
    known = bar(row(progress={"fraction": 0.25, "current": 7, "total": 28})).all("progress")[0]
    assert (known["value"], known["aria-valuetext"]) == ("0.25", "7 of 28")


def test_a_bars_value_is_in_no_languages_figures() -> None:
    with translation.override("de"):
        assert bar(row(progress={"fraction": 0.4444})).all("progress")[0]["value"] == "0.4444"
    assert [str(bar_value(share)) for share in (None, 0.0, 1.0)] == ["", ' value="0"', ' value="1"']


@pytest.mark.django_db
def test_who_owns_a_task_can_cancel_and_retry_it_by_forms_with_a_token_and_come_back() -> None:
    ada = person()
    claim = started(task_of(ada))
    forms = {str(form["class"]): form for form in bar(_fresh(claim.id), ada).all("form")}
    assert forms["telltale-cancel"]["action"] == f"/telltale/tasks/{claim.id}/cancel/"
    assert forms["telltale-cancel"]["method"] == "post"
    assert "hidden" not in forms["telltale-cancel"]
    page = bar(_fresh(claim.id), ada)
    hidden = {str(field["name"]): field["value"] for field in page.all("input")}
    assert hidden["next"] == "/imports/7/?tab=2"
    assert len(str(hidden["csrfmiddlewaretoken"])) == 64


@pytest.mark.django_db
def test_what_nobody_could_run_again_is_not_offered() -> None:
    ada = person()
    gone = row(State.FAILED, owner=ada, name="no.such.function", call={"args": [], "kwargs": {}})
    assert [form["class"] for form in bar(gone, ada).all("form")] == ["telltale-cancel"]


@pytest.mark.django_db
def test_a_failed_task_that_can_run_again_offers_it() -> None:
    ada = person()
    name = "tests.app.thread_tasks.fail"
    failed = row(State.FAILED, owner=ada, name=name, call={"args": [], "kwargs": {}})
    forms = {str(form["class"]): form for form in bar(failed, ada).all("form")}
    assert "hidden" not in forms["telltale-retry"]
    assert "hidden" in forms["telltale-cancel"]


@pytest.mark.django_db
def test_others_see_no_buttons() -> None:
    ada, eve = person("ada"), person("eve")
    task = row(owner=ada)
    assert bar(task, eve).all("form") == bar(task).all("form") == []
    assert "mine" in bar(task, ada).all("task-progress")[0]


@pytest.mark.django_db
def test_a_button_that_would_do_nothing_is_not_shown_or_says_so() -> None:
    ada = person()
    silent = row(owner=ada, beat_at=store.now() - 60)
    assert "hidden" in bar(silent, ada).of_class("telltale-cancel")
    assert "hidden" in bar(row(owner=ada, cancel_requested=True), ada).of_class("telltale-cancel")
    assert "disabled" in bar(row(owner=ada, no_cancel="it saves"), ada).all("button")[0]


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("/imports/7/", "/imports/7/"),
        ("https://other.example/a:b", "https://other.example/a:b"),
        (" done.html ", "done.html"),
        ("?a=b:c", "?a=b:c"),
        ("javascript:alert(1)", ""),
        ("\tJAVASCRIPT:alert(1)", ""),
        ("java\nscript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_result_leads_to_a_web_page_or_nowhere(url: str | None, safe: str) -> None:
    assert safe_url(url) == safe


def test_a_result_that_leads_nowhere_good_is_no_link() -> None:
    good = bar(row(State.SUCCEEDED, result="/imports/7/")).of_class("telltale-result")
    bad = bar(row(State.SUCCEEDED, result="javascript:alert(1)")).of_class("telltale-result")
    assert (good["href"], "hidden" in bad, "href" in bad) == ("/imports/7/", True, False)


def test_what_a_task_calls_itself_is_text() -> None:
    page = bar(row(label="<b>bold</b>", progress={"message": "<script>"}))
    assert not page.all("b")
    assert not page.all("script")


def test_a_label_can_be_a_heading_and_lead_to_the_tasks_page() -> None:
    task = row()
    page = bar(task, text="{% task_progress task heading=2 link=True %}")
    assert page.all("h2")
    assert page.all("a")[0]["href"] == f"/telltale/tasks/{task.pk}/"


def test_a_bar_asks_no_database_and_here_there_is_none() -> None:
    assert rendered("{% telltale %}{% task_progress task %}", asked(), task=row()).all("progress")


def _fresh(task_id: UUID) -> TaskState:
    found = store.get_task(task_id)
    assert found is not None
    return found
