"""The site's own views."""

from typing import Any

from django.contrib.auth import get_user_model, login, logout
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import engines
from django.views.decorators.csrf import csrf_exempt
from rest_framework.authtoken.models import Token

import telltale
from telltale.models import TaskState
from tests.accounts.tasks import import_airports, released


def page(request: HttpRequest) -> HttpResponse:
    """A page with nothing but the client."""
    text = "{% load telltale %}<!doctype html><head>{% telltale %}</head><body><task-tray></task-tray></body>"
    return HttpResponse(engines["django"].from_string(text).render({}, request))


def bar(request: HttpRequest) -> HttpResponse:
    """A page with the newest task's bar."""
    text = "{% load telltale %}<!doctype html><head>{% telltale %}</head><body>{% task_progress task %}</body>"
    context = {"task": TaskState.objects.latest("created_at")}
    return HttpResponse(engines["django"].from_string(text).render(context, request))


@login_not_required
def favicon(request: HttpRequest) -> HttpResponse:
    """No icon: browsers ask for one, and a 404 would be an error in their console."""
    return HttpResponse(status=204)


@login_not_required
@csrf_exempt
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in as the user with this key, who is created if there is none."""
    key: Any = request.POST["key"]
    user, _is_new = get_user_model().objects.get_or_create(pk=key, defaults={"username": key[:150]})
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse(str(user.pk))


@login_not_required
@csrf_exempt
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out."""
    logout(request)
    return HttpResponse()


@csrf_exempt
def start(request: HttpRequest) -> HttpResponseBase:
    """Start a task that the visitor owns."""
    released.clear()
    return telltale.accepted(request, telltale.enqueue(import_airports))


def token(request: HttpRequest) -> HttpResponse:
    """The visitor's API token."""
    return HttpResponse(Token.objects.get_or_create(user=request.user)[0].key)


@csrf_exempt
def hold(request: HttpRequest) -> HttpResponse:
    """Let no task end until the next release."""
    released.clear()
    return HttpResponse()


@login_not_required
@csrf_exempt
def release(request: HttpRequest) -> HttpResponse:
    """Let all tasks end."""
    released.set()
    return HttpResponse()
