"""The gallery exists in development only, and asks nothing of the database for its samples."""

import json

import pytest
from django.test import Client
from django.urls import include, path, reverse

import telltale.urls
from telltale.core.estimate import Pace
from telltale.core.states import State
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.pages.gallery.recorded import PAUSE_S, TICK_S, RecordedRun, recorded_runs
from telltale.pages.gallery.samples import samples
from telltale.pages.gallery.urls import urlpatterns as gallery_patterns
from tests.core import paces
from tests.core.time_left import told

# Those of a site that started with DEBUG.
urlpatterns = [path("telltale/", include(([*telltale.urls.urlpatterns, *gallery_patterns], "telltale")))]

pytestmark = pytest.mark.urls("tests.pages.test_gallery")


def test_s28_a_site_without_debug_has_no_address_of_the_gallery() -> None:
    assert not {pattern.name for pattern in gallery_patterns} & {pattern.name for pattern in telltale.urls.urlpatterns}


@pytest.mark.django_db
@pytest.mark.parametrize("view", ["", "_live", "_ticket"])
def test_without_debug_there_is_no_gallery(view: str, client: Client) -> None:
    assert client.get(reverse(f"telltale:gallery{view}")).status_code == 404


def test_the_gallery_has_a_sample_of_every_state() -> None:
    shown = {sample.task(1_000_000.0, Owner()).state for group in samples().values() for sample in group}
    assert shown == set(State)


@pytest.mark.django_db
def test_the_page_shows_every_sample_and_stores_none(client: Client, settings: object) -> None:
    settings.DEBUG = True  # type: ignore[attr-defined]
    page = client.get(reverse("telltale:gallery")).content.decode()
    assert all(str(sample.id) in page for group in samples().values() for sample in group)
    assert not TaskState.objects.exists()


@pytest.mark.parametrize("speed", [0.5, 1.0, 40.0])
@pytest.mark.parametrize("run", recorded_runs(), ids=lambda run: run.name)
def test_a_recorded_run_passes_through_its_counts_to_its_end_at_any_speed(run: RecordedRun, speed: float) -> None:
    cycle_s = run.end_s / speed + PAUSE_S
    start = 1_000_000 * cycle_s
    step_s = TICK_S / speed
    rows = [run.columns(start + (n + 0.5) * step_s, speed=speed) for n in range(int(run.end_s / TICK_S))]
    assert {row["state"] for row in rows} == {State.RUNNING}
    assert rows == sorted(rows, key=lambda row: (row["attempt"], row["seq"], row["progress"]["current"]))
    assert len({row["progress"]["current"] for row in rows}) > len(run.moments) / 2
    ended = run.columns(start + run.end_s / speed + 1.0, speed=speed)
    assert (ended["state"], ended["progress"]["fraction"]) == (State.SUCCEEDED, 1.0)
    assert ended["ended_at"] - ended["started_at"] == pytest.approx(run.end_s)
    assert run.columns(start + cycle_s + 0.01, speed=speed)["attempt"] == ended["attempt"] + 1


@pytest.mark.parametrize("judged", paces.recorded_runs(), ids=lambda run: run.kind)
def test_the_time_left_of_a_recorded_run_is_that_which_the_tests_of_the_time_left_judge(judged: paces.Run) -> None:
    [run] = [run for run in recorded_runs() if run.name == judged.kind]
    start = 1_000_000 * (run.end_s + PAUSE_S)
    for moment in told(judged, Pace()):
        left_s = run.columns(start + moment.at + 0.001, speed=1.0)["remaining_s"]
        assert (left_s is None) == (moment.remaining_s is None)
        assert left_s is None or left_s == pytest.approx(moment.remaining_s, abs=0.1)


@pytest.mark.django_db
@pytest.mark.parametrize("speed", ["4", "fast", "-1", "nan", "1e9"])
def test_a_poll_is_answered_with_all_samples_at_any_speed(speed: str, client: Client, settings: object) -> None:
    settings.DEBUG = True  # type: ignore[attr-defined]
    answer = client.post(f"{reverse('telltale:gallery_live')}?speed={speed}", "{}", content_type="application/json")
    assert len(json.loads(answer.content)["tasks"]) == sum(map(len, samples().values()))


@pytest.mark.django_db
def test_a_ticket_of_the_gallery_opens_nothing_else(client: Client, settings: object) -> None:
    settings.DEBUG = True  # type: ignore[attr-defined]
    body = json.dumps({"topics": ["task:1"]})
    ticket = client.post(reverse("telltale:gallery_ticket"), body, content_type="application/json").json()
    headers = {"Authorization": f"Bearer {ticket['ticket']}"}
    assert (
        client.post(reverse("telltale:live"), "{}", content_type="application/json", headers=headers).status_code == 401
    )
