"""The gallery exists in development only, and asks nothing of the database for its samples."""

import json

import pytest
from django.test import Client
from django.urls import include, path, reverse

import telltale.urls
from telltale.core.states import State
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.pages.gallery.samples import samples
from telltale.pages.gallery.urls import urlpatterns as gallery_patterns

# Those of a site that started with DEBUG.
urlpatterns = [path("telltale/", include(([*telltale.urls.urlpatterns, *gallery_patterns], "telltale")))]

pytestmark = pytest.mark.urls("tests.pages.test_gallery")


def test_a_site_without_debug_has_no_address_of_the_gallery() -> None:
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
