"""`channels://ALIAS`: which layer it names, and clear errors for a wrong one."""

import re
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from telltale.brokers import build
from telltale.brokers.base import EventLoopBroker, Reach
from telltale.channels.broker.broker import ChannelsBroker
from tests.brokers.processes import run_process
from tests.channels.layers import CORE, MEMORY, PUBSUB, layers

MEMORY_OF_CHANNELS = "channels.layers.InMemoryChannelLayer"


@pytest.mark.parametrize("url", ["channels://", "channels://default", "channels://default/"])
@pytest.mark.parametrize(
    ("backend", "reach"), [(CORE, Reach.SITE), (PUBSUB, Reach.SITE), (MEMORY_OF_CHANNELS, Reach.PROCESS)]
)
def test_the_reach_is_that_of_the_layer(settings: Any, url: str, backend: str, reach: Reach) -> None:
    settings.CHANNEL_LAYERS = layers(backend)
    broker = build(url)
    assert isinstance(broker, ChannelsBroker)
    assert isinstance(broker, EventLoopBroker)
    assert broker.reach is reach


def test_another_alias_names_another_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"Live_2": layers(MEMORY)["default"], **layers(CORE)}
    assert build("channels://Live_2").reach is Reach.PROCESS
    assert build("channels://").reach is Reach.SITE


def test_without_channel_layers_the_error_shows_what_to_add(settings: Any) -> None:
    del settings.CHANNEL_LAYERS
    with pytest.raises(ImproperlyConfigured, match=re.escape('add: CHANNEL_LAYERS = {"default": {"BACKEND": ')):
        build("channels://default")


def test_an_unknown_alias_is_refused_and_the_error_lists_the_known_ones(settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers(MEMORY)
    with pytest.raises(ImproperlyConfigured, match="has no layer 'live': it has 'default'"):
        build("channels://live")


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ({}, "No BACKEND specified"),
        ({"BACKEND": "channels_redis.core.Missing"}, "Cannot import BACKEND"),
        ({"BACKEND": CORE, "CONFIG": {"hosts": "redis://localhost"}}, "list of Redis hosts"),
        ({"BACKEND": CORE, "CONFIG": {"host": []}}, "unexpected keyword argument 'host'"),
    ],
)
def test_a_layer_that_cannot_be_made_is_refused(settings: Any, layer: dict[str, Any], problem: str) -> None:
    settings.CHANNEL_LAYERS = {"default": layer}
    with pytest.raises(ImproperlyConfigured, match=f"{problem}.*Correct its BACKEND and CONFIG"):
        build("channels://")


@pytest.mark.parametrize(
    "url",
    ["channels://default?prefix=x", "channels://default/0", "channels://default#x", "channels://user:secret@default"],
)
def test_an_address_is_an_alias_alone_and_no_password_is_shown(settings: Any, url: str) -> None:
    settings.CHANNEL_LAYERS = layers(MEMORY)
    with pytest.raises(ImproperlyConfigured, match="write channels://ALIAS") as raised:
        build(url)
    assert "secret" not in str(raised.value)


def test_the_system_check_reports_a_missing_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    settings.TELLTALE = {"BROKER": "channels://"}
    with pytest.raises(SystemCheckError, match=r"telltale\.E003.*CHANNEL_LAYERS has no layer 'default'"):
        call_command("check", "--tag=telltale")


def test_without_the_package_the_error_says_how_to_install_it() -> None:
    code = """
import sys
sys.modules["channels"] = None
from telltale.brokers import build
try:
    build("channels://")
except Exception as error:
    print(type(error).__name__, error)
"""
    assert "ImproperlyConfigured" in run_process(code)
    assert "pip install 'django-telltale[channels]'" in run_process(code)
