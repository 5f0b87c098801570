"""The template tags: their output, with hashed static files, under a strict policy, and without JavaScript."""

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
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.http import HttpRequest
from django.template import Context, Template, TemplateSyntaxError
from django.test import AsyncRequestFactory, Client, RequestFactory, override_settings
from django.utils import translation
from django.utils.module_loading import import_string

from telltale import store
from telltale.core.states import ENDS, State
from telltale.core.topics import user_topic
from telltale.live import tickets
from telltale.live.application import LiveApplication
from telltale.models import TaskState
from telltale.pages import browser_files
from telltale.pages.browser_files import FOR_FRAMEWORKS, MODULES
from telltale.templatetags.telltale import bar_value, import_map, safe_url
from tests.factories import ended, person, started, task_of

STATIC = Path(__file__).parents[2] / "src" / "telltale" / "static" / "telltale"


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts."""

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


def request_of(user: Any = None) -> HttpRequest:
    request = RequestFactory().get("/imports/7/?tab=2")
    if user is not None:
        request.user = user
    return request


def rendered(text: str, request: HttpRequest, **more: Any) -> Page:
    return Page(Template("{% load telltale %}" + text).render(Context({"request": request, **more})))


def bar(task: TaskState, user: Any = None, text: str = "{% task_progress task %}") -> Page:
    return rendered(text, request_of(user), task=task)


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


class AggregatingStorage(ManifestStaticFilesStorage):
    """Also puts hashed names into modules' own import statements."""

    support_js_module_import_aggregation = True


@pytest.fixture(
    params=[
        "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
        f"{__name__}.AggregatingStorage",
        "whitenoise.storage.CompressedManifestStaticFilesStorage",
    ]
)
def collected(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    storages = {"staticfiles": {"BACKEND": request.param}}
    with override_settings(STORAGES=storages, STATIC_ROOT=str(tmp_path), STATIC_URL="/static/", DEBUG=False):
        call_command("collectstatic", verbosity=0, interactive=False)
        yield tmp_path


@pytest.mark.django_db
def test_every_module_of_the_import_map_exists_under_its_hashed_name(collected: Path) -> None:
    page = rendered("{% telltale %}", request_of())
    imports = json.loads(page.script("importmap"))["imports"]
    assert imports.keys() == {"telltale", *(f"telltale/{module}" for module in (*MODULES, *FOR_FRAMEWORKS))}
    urls = [*imports.values(), *(str(link["href"]) for link in page.all("link"))]
    urls += [str(script["src"]) for script in page.all("script") if "src" in script]
    for url in urls:
        assert re.search(r"\.[0-9a-f]{12}\.(js|css)$", url), url
        assert (collected / url.removeprefix("/static/")).is_file(), url


@pytest.mark.django_db
def test_the_import_map_takes_the_sites_own_names_and_leaves_telltales_as_they_are() -> None:
    imports = {"chart": "/static/chart.js", "telltale": "/static/other.js"}
    page = rendered("{% telltale task imports=imports %}", request_of(), task=row(), imports=imports)
    assert json.loads(page.script("importmap"))["imports"] == {"chart": "/static/chart.js", **import_map()}


@pytest.mark.django_db
def test_a_collected_module_is_served_unchanged(collected: Path) -> None:
    for name, url in import_map().items():
        served = (collected / url.removeprefix("/static/")).read_text(encoding="utf-8")
        assert served == source_of(name).read_text(encoding="utf-8")


@pytest.mark.django_db
def test_every_module_is_mapped_and_those_of_all_pages_are_preloaded() -> None:
    # The self-test stands alone: it also runs where modules do not arrive.
    modules = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js")} - {"self-test.js"}
    assert {"index.js", "live/live.js", "elements/task-tray.js"} <= modules
    page = rendered("{% telltale %}", request_of())
    imports = json.loads(page.script("importmap"))["imports"]
    of_pages = {module for module in modules if not module.startswith("frameworks/")}
    assert of_pages == {*MODULES}
    assert {source_of(name) for name in imports} == {STATIC / module for module in modules}
    preloaded = {link["href"] for link in page.all("link") if link["rel"] == "modulepreload"}
    # A module that is loaded on demand is not preloaded.
    assert preloaded == {imports[f"telltale/{module}"] for module in browser_files.module_files()}
    assert "elements/task-progress.js" in browser_files.module_files()
    assert not {"elements/task-tray.js", "live/pusher.js"} & {*browser_files.module_files()}


def source_of(name: str) -> Path:
    """Return the module of this name in the import map."""
    path = name.removeprefix("telltale").removeprefix("/") or "index.js"
    return STATIC / path if path.endswith(".js") else STATIC / "frameworks" / f"{path}.js"


def test_modules_import_by_names_of_the_import_map_only() -> None:
    known = import_map().keys()
    for module in STATIC.rglob("*.js"):
        imported = re.findall(r"""\b(?:from|import)\s*\(?\s*["']([^"']+)["']""", module.read_text(encoding="utf-8"))
        framework = {module.stem} if module.parent.name == "frameworks" else set()
        assert set(imported) - framework <= known, module.name


def test_every_module_is_imported_by_another_or_by_the_page() -> None:
    alive, unread = {"elements.js", "index.js"}, ["elements.js", "index.js"]
    while unread:
        found = re.findall(
            r'(?:from |import(?: |\(\s*))"telltale/([^"]+)"', (STATIC / unread.pop()).read_text(encoding="utf-8")
        )
        unread += {*found} - alive
        alive |= {*found}
    assert alive == {*MODULES}


def test_the_style_sheet_loads_no_other_files() -> None:
    assert "url(" not in (STATIC / "telltale.css").read_text(encoding="utf-8")


# A strict policy --------------------------------------------------------------------------------


@pytest.mark.parametrize("from_context", [True, False], ids=["Django's", "django-csp's"])
@pytest.mark.django_db
def test_scripts_and_preloads_carry_the_nonce(from_context: bool) -> None:
    request = request_of()
    if not from_context:
        request.csp_nonce = "r4nd0m"  # type: ignore[attr-defined]
    page = rendered("{% telltale %}", request, **({"csp_nonce": "r4nd0m"} if from_context else {}))
    assert len(page.all("script")) == 4
    assert {script.get("nonce") for script in page.all("script")} == {"r4nd0m"}
    assert {link.get("nonce") for link in page.all("link") if link["rel"] == "modulepreload"} == {"r4nd0m"}


def nonces_of_page_and_policy(client: Client) -> tuple[set[str | None], set[str]]:
    """Return the nonces of the scripts in the list of tasks, and those of its policy header."""
    client.force_login(person())
    response = client.get("/telltale/tasks/", headers={"accept": "text/html"})
    page = Page(response.content.decode())
    assert len(page.all("script")) == 4
    carried = {a.get("nonce") for a in page.all("script") + page.all("link") if a.get("rel") != "stylesheet"}
    return carried, set(re.findall(r"'nonce-([^']+)'", response.headers["Content-Security-Policy"]))


@pytest.mark.django_db
def test_scripts_carry_the_lazy_nonce_of_django_csp(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = ["csp.middleware.CSPMiddleware", *settings.MIDDLEWARE]
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"script-src": [csp.constants.SELF, csp.constants.NONCE]}}
    carried, allowed = nonces_of_page_and_policy(client)
    assert len(allowed) == 1
    assert carried == allowed


@pytest.mark.skipif(DJANGO_VERSION < (6, 0), reason="Django has a policy of its own from 6.0 on")
@pytest.mark.parametrize("in_context", [True, False], ids=["with its context processor", "without"])
@pytest.mark.django_db
def test_scripts_carry_the_lazy_nonce_of_django(client: Client, settings: Any, in_context: bool) -> None:
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
    assert all("nonce" not in attributes for _, attributes in rendered("{% telltale %}", request_of()).elements)


@pytest.mark.django_db
def test_the_pages_first_request_waits_for_no_file_and_comes_after_the_ticket() -> None:
    page = rendered("{% telltale %}", request_of())
    [(position, text)] = [(n, text) for n, (attributes, text) in enumerate(page.scripts) if "async" in attributes]
    assert page.scripts[position][0]["type"] == "module"
    assert position > [attributes.get("id") for attributes, _ in page.scripts].index("telltale-page")
    assert text == browser_files.first_request()
    assert "fetch(urls.live" in text
    assert "import" not in text
    assert "<" not in text, "nothing in it could end the script"


@pytest.mark.django_db
def test_the_import_map_comes_before_any_module() -> None:
    page = rendered("{% telltale %}", request_of())
    kinds = [a.get("type") or a.get("rel") for tag, a in page.elements if tag in {"script", "link"}]
    assert kinds.index("importmap") < min(kinds.index("modulepreload"), kinds.index("module"))


def test_s30_no_element_has_an_inline_style_or_handler(client: Any, db: None) -> None:
    ada = person()
    client.force_login(ada)
    claim = started(task_of(ada, label='"><script>alert(1)</script>'))
    pages = [client.get(f"/telltale/tasks/{claim.id}/", headers={"accept": "text/html"})]
    ended(claim, State.FAILED, error="<img src=x onerror=alert(2)>")
    pages += [client.get(f"/telltale/tasks/{path}", headers={"accept": "text/html"}) for path in ("", f"{claim.id}/")]
    for response in pages:
        assert response.status_code == 200
        page = Page(response.content.decode())
        for tag, attributes in page.elements:
            assert tag not in {"style", "img"}
            assert not [name for name in attributes if name == "style" or name.startswith("on")], (tag, attributes)
        assert all(set(a) <= {"type", "src", "id", "nonce", "async"} for a in page.all("script"))


@pytest.mark.django_db
def test_s31_data_in_the_page_cannot_end_its_script_element() -> None:
    shared = task_of(label="x")
    with translation.override("en"):
        page = rendered("{% telltale task %}", request_of(), task=shared)
    block = page.script("application/json")
    assert "<" not in block
    assert json.loads(block)["texts"]["messages"]["succeeded"] == "Done"


# The page's data block -------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_page_contains_a_ticket_for_the_topics_that_its_visitor_may_follow() -> None:
    ada, eve = person("ada"), person("eve")
    theirs, not_theirs = task_of(ada), task_of(eve)
    page = rendered("{% telltale one two %}", request_of(ada), one=theirs, two=not_theirs)
    data = json.loads(page.script("application/json"))
    assert data["topics"] == sorted({f"task:{theirs.pk}", f"user:{ada.pk}"})
    assert tickets.verify(data["ticket"]).topics == {*data["topics"]}


@pytest.mark.django_db
def test_an_http_only_csrf_cookie_is_not_named_in_the_page() -> None:
    for setting, cookie in ((False, "csrftoken"), (True, None)):
        with override_settings(CSRF_COOKIE_HTTPONLY=setting):
            data = json.loads(rendered("{% telltale %}", request_of()).script("application/json"))
        assert data["csrf"]["cookie"] == cookie
        assert len(data["csrf"]["token"]) == 64


@pytest.mark.parametrize("tag", ["{% telltale %}", "{% task_progress task %}", "{% task_status task %}"])
def test_without_a_request_the_tags_error_names_the_context_processor(tag: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=r"context_processors\.request"):
        Template("{% load telltale %}" + tag).render(Context({"task": row()}))


# The bar without JavaScript ---------------------------------------------------------------------


@pytest.mark.parametrize("state", State, ids=str)
def test_every_state_has_a_bar_with_a_label(state: State) -> None:
    page = bar(row(state))
    element, progress = page.all("task-progress")[0], page.all("progress")[0]
    assert element["state"] == state.value
    assert progress["aria-label"] == "Import airports"
    assert progress["max"] == "1"


@pytest.mark.parametrize("state", State, ids=str)
def test_a_line_of_a_task_says_its_label_and_state_and_leads_to_its_page(state: State) -> None:
    task = row(state, label="a < b", progress={"fraction": 0.456, "current": 4, "total": 9})
    text = Template("{% load telltale %}{% task_status task %}").render(
        Context({"request": request_of(), "task": task})
    )
    [element], [link] = Page(text).all("task-status"), Page(text).all("a")
    assert (element["state"], element["task"], link["href"]) == (state, str(task.pk), f"/telltale/tasks/{task.pk}/")
    words = {"queued": "45%", "running": "45%", "retrying": "45%", "succeeded": "Done", "failed": "Failed"}
    words |= {"cancelled": "Stopped", "lost": "Interrupted before it finished"}
    assert " ".join(re.sub("<[^>]*>", "", text).split()) == f"a &lt; b {words[state]}"


@pytest.mark.parametrize(("silent_s", "still_s", "health"), [(0, 0, "ok"), (0, 90, "quiet"), (50, 50, "stalled")])
def test_a_running_task_has_its_health_without_javascript(silent_s: float, still_s: float, health: str) -> None:
    now = store.now()
    assert bar(row(beat_at=now - silent_s, moved_at=now - still_s)).all("task-progress")[0]["health"] == health


def test_only_a_running_task_has_health() -> None:
    assert "health" not in bar(row(State.QUEUED)).all("task-progress")[0]


def test_a_bar_of_an_unknown_total_is_indeterminate() -> None:
    assert "value" not in bar(row(progress={"current": 7})).all("progress")[0]
    known = bar(row(progress={"fraction": 0.25, "current": 7, "total": 28})).all("progress")[0]
    assert (known["value"], known["aria-valuetext"]) == ("0.25", "7 of 28")


def test_the_value_of_a_bar_does_not_depend_on_the_language() -> None:
    with translation.override("de"):
        assert bar(row(progress={"fraction": 0.4444})).all("progress")[0]["value"] == "0.4444"
    assert [str(bar_value(share)) for share in (None, 0.0, 1.0)] == ["", ' value="0"', ' value="1"']


@pytest.mark.django_db
def test_the_owner_can_cancel_and_retry_by_forms_with_token_and_return_url() -> None:
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
def test_retry_is_not_offered_for_an_unknown_function() -> None:
    ada = person()
    gone = row(State.FAILED, owner=ada, name="no.such.function", call={"args": [], "kwargs": {}})
    assert [form["class"] for form in bar(gone, ada).all("form")] == ["telltale-cancel"]


@pytest.mark.django_db
def test_a_failed_task_that_can_run_again_offers_retry() -> None:
    ada = person()
    name = "tests.app.thread_tasks.fail"
    failed = row(State.FAILED, owner=ada, name=name, call={"args": [], "kwargs": {}})
    forms = {str(form["class"]): form for form in bar(failed, ada).all("form")}
    assert "hidden" not in forms["telltale-retry"]
    assert "hidden" in forms["telltale-cancel"]


@pytest.mark.django_db
def test_a_waiting_task_that_may_have_been_lost_offers_retry_and_one_that_waits_does_not() -> None:
    ada = person()
    fields = {"owner": ada, "name": "tests.app.thread_tasks.fail", "call": {"args": [], "kwargs": {}}}
    missing = row(State.QUEUED, missing_since=store.now() - 100, **fields)
    waiting = row(State.QUEUED, **fields)
    retry_forms = [
        next(form for form in bar(task, ada).all("form") if form["class"] == "telltale-retry")
        for task in (missing, waiting)
    ]
    assert ["hidden" in form for form in retry_forms] == [False, True]


@pytest.mark.django_db
def test_a_bar_of_ones_own_names_the_topic_that_covers_it_and_no_other_bar_does() -> None:
    ada = person("ada")
    task = task_of(ada)
    assert bar(task, ada).all("task-progress")[0]["owner"] == user_topic(ada.pk)
    assert "owner" not in bar(task, person("eve")).all("task-progress")[0]


@pytest.mark.django_db
def test_s19_other_visitors_see_no_buttons() -> None:
    ada, eve = person("ada"), person("eve")
    task = row(owner=ada)
    assert bar(task, eve).all("form") == bar(task).all("form") == []
    assert "mine" in bar(task, ada).all("task-progress")[0]


@pytest.mark.django_db
def test_a_cancel_button_without_effect_is_hidden_or_disabled() -> None:
    ada = person()
    stalled = row(owner=ada, beat_at=store.now() - 60)
    assert "hidden" not in bar(stalled, ada).of_class("telltale-cancel"), "a redelivery would not run it again"
    assert "hidden" in bar(row(owner=ada, cancel_requested=True), ada).of_class("telltale-cancel")
    assert "disabled" in bar(row(owner=ada, no_cancel="it saves"), ada).all("button")[0]


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("/imports/7/", "/imports/7/"),
        ("https://other.example/a:b", "https://other.example/a:b"),
        (" done.html ", "done.html"),
        ("?a=b:c", "?a=b:c"),
        ("report?at=12:30", "report?at=12:30"),
        ("report#a:b", "report#a:b"),
        ("/a:b", "/a:b"),
        ("javascript:alert(1)", ""),
        ("\tJAVASCRIPT:alert(1)", ""),
        ("java\nscript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_result_link_leads_to_a_web_page_or_is_empty(url: str | None, safe: str) -> None:
    assert safe_url(url) == safe


def test_s29_an_unsafe_result_is_not_linked() -> None:
    good = bar(row(State.SUCCEEDED, result="/imports/7/")).of_class("telltale-result")
    bad = bar(row(State.SUCCEEDED, result="javascript:alert(1)")).of_class("telltale-result")
    assert (good["href"], "hidden" in bad, "href" in bad) == ("/imports/7/", True, False)


def test_s29_a_tasks_label_and_message_are_escaped() -> None:
    page = bar(row(label="<b>bold</b>", progress={"message": "<script>"}))
    assert not page.all("b")
    assert not page.all("script")


def test_a_label_can_be_a_heading_and_a_link_to_the_tasks_page() -> None:
    task = row()
    page = bar(task, text="{% task_progress task heading=2 link=True %}")
    assert page.all("h2")
    assert page.all("a")[0]["href"] == f"/telltale/tasks/{task.pk}/"


def test_the_tags_need_no_database() -> None:
    assert rendered("{% telltale %}{% task_progress task %}", request_of(), task=row()).all("progress")


@pytest.mark.parametrize(
    ("factory", "is_mounted", "can_hold"),
    [(AsyncRequestFactory, True, True), (AsyncRequestFactory, False, False), (RequestFactory, True, False)],
    ids=["telltale.asgi", "Django's own ASGI application", "WSGI"],
)
def test_the_page_says_whether_its_server_can_hold_connections(
    monkeypatch: pytest.MonkeyPatch, db: None, factory: Any, is_mounted: bool, can_hold: bool
) -> None:
    monkeypatch.setattr(LiveApplication, "is_mounted", is_mounted)
    data = json.loads(rendered("{% telltale %}", factory().get("/")).script("application/json"))
    assert data["can_hold"] is can_hold


def _fresh(task_id: UUID) -> TaskState:
    found = store.get_task(task_id)
    assert found is not None
    return found
