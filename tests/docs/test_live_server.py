"""docs/live-server.md against the code: metrics, limits, options, servers."""

import asyncio
import json
import re
import shlex
from argparse import ArgumentParser

import pytest
from prometheus_client.parser import text_string_to_metric_families

from telltale.conf import FIELD_BY_KEY, Settings
from telltale.core.hub import SLICE
from telltale.live import driver
from telltale.server import routes
from telltale.server.http_protocol import HttpProtocol
from telltale.server.options import Options
from telltale.server.status import metrics_text, status_json
from telltale.server.websocket_protocol import WebSocketProtocol
from telltale.transports.websocket import RATE
from tests.servers import ROOT
from tests.transports.sites import COMMANDS, LIVE_FLAGS

PAGE = (ROOT / "docs" / "live-server.md").read_text()


@pytest.fixture
def live_driver() -> driver.Driver:
    """A driver without clients."""

    async def make() -> driver.Driver:
        return driver.Driver()

    made = asyncio.run(make())
    made.counts["closed slow"] += 1
    return made


def rows(beginning: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this heading."""
    table = PAGE.partition(f"| {beginning} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_every_metric_is_documented_with_its_own_description(
    live_driver: driver.Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test may have mounted the stand-in for Pusher, whose page has its metrics.
    monkeypatch.setattr(routes, "_collectors", {})
    families = list(text_string_to_metric_families(metrics_text(live_driver)))
    exported = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type, family.documentation)
        for family in families
    }
    assert {(name.strip("`"), kind, meaning) for name, kind, meaning in rows("metric")} == exported


def test_healthz_has_the_documented_keys(live_driver: driver.Driver) -> None:
    shown = re.search(r"```json\n(.*?)\n```", PAGE)
    assert shown
    assert json.loads(shown[1]).keys() == status_json(live_driver).keys()


def test_the_documented_limits_are_the_defaults_of_the_settings() -> None:
    limits = {name.strip("`"): value for name, value, _ in rows("`TELLTALE`")}
    assert set(limits) == {name for name in FIELD_BY_KEY if name.startswith("CONNECTIONS")}
    for name, value in limits.items():
        assert int(value.replace(",", "")) == getattr(Settings(), FIELD_BY_KEY[name])


def test_every_documented_option_exists() -> None:
    parser = ArgumentParser()
    Options.add_to(parser)
    known = {word for action in parser._actions for word in action.option_strings}
    ours = set(re.findall(r"(?:telltale serve|-m telltale\.server)[^\n`]*", PAGE))
    named = {word for line in ours for word in re.findall(r"--[a-z-]+", line)}
    assert {"--processes", "--status-port", "--drain-s"} <= named
    assert named <= known
    start = re.search(r"^ExecStart=(.*)$", PAGE, re.M)
    assert start
    parser.parse_args(shlex.split(start[1].partition("-m telltale.server ")[2]))


def test_the_documented_numbers_are_those_of_the_code() -> None:
    assert f"in batches of {SLICE}" in PAGE
    assert f"{RATE:.0f} messages a second" in PAGE
    assert driver.RETURN_PER_S == 1_000


def test_the_documented_servers_are_the_tested_ones() -> None:
    assert len(rows("server")) == len(COMMANDS)
    assert LIVE_FLAGS in PAGE
    assert (
        f"--ws telltale.server:{WebSocketProtocol.__name__} --http telltale.server:{HttpProtocol.__name__}"
    ) == LIVE_FLAGS


def test_the_table_of_probes_has_the_tested_servers() -> None:
    probed = PAGE.partition("<!-- probe -->")[2].partition("<!-- /probe -->")[0].strip().splitlines()
    assert [cell.strip() for cell in probed[0].strip("|").split("|")] == ["", *COMMANDS]
