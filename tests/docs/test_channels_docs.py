"""docs/channels.md: each block is an excerpt of the example, which the browser tests run, or is run here."""

import re
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

from telltale import channels
from telltale.channels.groups import group_of, topic_of
from telltale.live.application import LiveApplication
from telltale.management.commands.telltale import Command
from tests.examples.example_site import CHANNELS
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "channels.md").read_text()
BLOCKS = re.findall(r"^```(python|js|django)\n(.*?)^```", PAGE, re.S | re.M)
GAP = "…"


def file_of(code: str) -> str | None:
    """Return the file that the block's first line names."""
    first = code.partition("\n")[0]
    found = re.fullmatch(r"(?:# |// |\{# )(\w[\w/]+\.\w+)(?: #\})?", first)
    return found[1] if found else None


EXCERPTS = [(file_of(code), code.partition("\n")[2]) for _, code in BLOCKS if file_of(code) not in {None, "asgi.py"}]
[MOUNTED] = [code for _, code in BLOCKS if file_of(code) == "asgi.py"]
[MAPPING] = [code for _, code in BLOCKS if file_of(code) is None]


@pytest.mark.parametrize(("file", "code"), EXCERPTS)
def test_a_block_is_an_excerpt_of_the_file_that_it_names(file: str, code: str) -> None:
    text = (CHANNELS / file).read_text()
    for part in code.split(f"{GAP}\n"):
        assert part in text
        text = text.partition(part)[2]


def test_most_blocks_are_excerpts() -> None:
    assert len(EXCERPTS) == len(BLOCKS) - 2 >= 10


def test_the_documented_groups_are_those_of_the_code() -> None:
    lines = re.findall(r'^(group_of|topic_of)\("(.+?)"\)  # "(.+)"$', MAPPING, re.M)
    assert len(lines) == 4
    for function, argument, result in lines:
        assert {"group_of": group_of, "topic_of": topic_of}[function](argument) == result
    names: dict[str, Any] = {}
    exec(MAPPING, names)  # noqa: S102 (our own page)


def test_the_routing_with_the_live_address_inside_is_valid() -> None:
    names: dict[str, Any] = {
        "AllowedHostsOriginValidator": AllowedHostsOriginValidator,
        "AuthMiddlewareStack": AuthMiddlewareStack,
        "ProtocolTypeRouter": ProtocolTypeRouter,
        "URLRouter": URLRouter,
        "get_asgi_application": get_asgi_application,
        "path": path,
        "re_path": re_path,
        "sockets": [],
    }
    exec(MOUNTED, names)  # noqa: S102 (our own page)
    routes = names["application"].application_mapping["http"].routes
    assert isinstance(routes[0].callback, LiveApplication)
    assert routes[0].pattern.match("telltale/live/")


def test_the_documented_names_exist() -> None:
    for name in re.findall(r"telltale\.channels(?:\.(\w+)| import (\w+))", PAGE):
        assert hasattr(channels, "".join(name))


def test_the_documented_commands_exist() -> None:
    [words] = re.findall(r"^manage\.py telltale (worker.*)$", PAGE, re.M)
    parsed = Command().create_parser("manage.py", "telltale").parse_args(words.split())
    assert (parsed.subcommand, parsed.channels, parsed.concurrency) == ("worker", ["telltale-report"], 1)
    [(directory, target)] = re.findall(r"^make -C (\S+) (\w+)", PAGE, re.M)
    assert f"\n{target}:" in (ROOT / directory / "Makefile").read_text()
