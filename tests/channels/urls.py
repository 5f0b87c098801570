"""The addresses of the site with Channels: the tests' own, and the number of clients."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from telltale.live.driver import driver
from tests.urls import urlpatterns as tests_urlpatterns


async def healthz(request: HttpRequest) -> HttpResponse:
    """Return the number of clients of this process."""
    return HttpResponse(str(driver().connection_count))


urlpatterns = [*tests_urlpatterns, path("healthz", healthz)]
