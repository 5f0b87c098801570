"""docs/pusher.md: each client's lines run against a stand-in that is started by the lines of the page."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pusher import Pusher

from telltale.checks import check_settings
from telltale.pusher.app_rules import LIMITS, RULES
from telltale.pusher.publisher.page_options import service
from telltale.pusher.pusher_apps import AppLimits, PusherApp
from tests.pusher.clients.stand_in import StandIn
from tests.servers import ROOT, running

PAGE = (ROOT / "docs" / "pusher.md").read_text()
DRIVERS = ROOT / "tests" / "pusher" / "drivers"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.S | re.M)
ALL_NUMBERS = range(1, 81)

pytestmark = pytest.mark.service

IMPORTS = {
    "pusher-js": 'import Pusher from "pusher-js"\n',
    "laravel-echo": 'import Echo from "laravel-echo"\nimport Pusher from "pusher-js"\n',
    "pusher": 'import Pusher from "pusher"\n',
}
LISTEN = {
    "pusher-js": """
const channel = pusher.subscribe("news")
channel.bind("pusher:subscription_succeeded", () => console.log("subscribed"))
channel.bind("done", data => console.log(JSON.stringify(data)))
""",
    "laravel-echo": """
const channel = echo.channel("news")
channel.subscribed(() => console.log("subscribed"))
channel.listen(".done", data => console.log(JSON.stringify(data)))
""",
}


def block(language: str, library: str) -> str:
    """The block of the page whose first line names the library, pointed at a server without TLS by `pointed_at`."""
    [code] = [code for found, code in BLOCKS if found == language and re.match(rf"(#|//) {library}\n", code)]
    return code


def pointed_at(port: int, code: str) -> str:
    code = code.replace("push.example.com", "127.0.0.1").replace("443", str(port))
    for secure, plain in (
        ("forceTLS: true", "forceTLS: false"),
        ("useTLS: true", "useTLS: false"),
        ("ssl=True", "ssl=False"),
        ("secure=True", "secure=False"),
    ):
        code = code.replace(secure, plain)
    return code


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    """The stand-in, started by the page's own command."""
    [console] = [code for language, code in BLOCKS if language == "console" and "python -m telltale.pusher" in code]
    words = shlex.split(console.splitlines()[-1])
    assert words[:3] == ["python", "-m", "telltale.pusher"]
    port = words.index("--port")
    options = words[3:port] + words[port + 2 :]
    with running(lambda directory: StandIn.standalone(directory, *options)) as server:
        yield server


def publish_until_heard(process: "subprocess.Popen[str]", server: StandIn, subscribed: str) -> str:
    """Publish once the client is subscribed, and return the line that it prints then."""
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == subscribed
        library = Pusher(app_id="1", key="app-key", secret="app-secret", host="127.0.0.1", port=server.port, ssl=False)
        library.trigger("news", "done", {"ok": True})
        return process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("library", ["pusher-js", "pusher-js-7", "laravel-echo"])
def test_the_lines_of_a_javascript_client_connect_and_hear_an_event(library: str, server: StandIn) -> None:
    name = library.removesuffix("-7")
    imports = IMPORTS[name].replace('"pusher-js"', f'"{library}"') if name == "pusher-js" else IMPORTS[name]
    code = imports + pointed_at(server.port, block("js", name)) + LISTEN[name]
    command = ["node", "--input-type=module", "--eval", code]
    process = subprocess.Popen(command, cwd=DRIVERS, stdout=subprocess.PIPE, text=True)
    assert json.loads(publish_until_heard(process, server, "subscribed")) == {"ok": True}


def test_the_lines_of_asyncpusher_connect_and_hear_an_event(server: StandIn) -> None:
    code = pointed_at(server.port, block("python", "asyncpusher"))
    # The page's client only prints events; this one also says when it is subscribed.
    code = code.replace("    await asyncio.sleep(60)\n", TELL_SUBSCRIBED)
    assert TELL_SUBSCRIBED in code
    process = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
    assert publish_until_heard(process, server, "subscribed") == "{'ok': True}"


TELL_SUBSCRIBED = """\
    while channel.state is not channel.State.SUBSCRIBED:
        await asyncio.sleep(0.05)
    print("subscribed")
    await asyncio.sleep(60)
"""


def test_the_lines_of_the_python_library_publish(server: StandIn) -> None:
    code = pointed_at(server.port, block("python", "pusher"))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_the_lines_of_the_node_library_publish(server: StandIn) -> None:
    code = IMPORTS["pusher"] + pointed_at(server.port, block("js", "pusher"))
    subprocess.run(["node", "--input-type=module", "--eval", code], cwd=DRIVERS, check=True, timeout=30)


def test_every_key_of_an_app_and_every_limit_is_described_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)`(?:, `[A-Z_]+`)? \| ?`?([^|`]*?)`? \|", PAGE, re.M))
    documented = {*rows, "SECRET"}
    assert documented == set(RULES)
    app = PusherApp(id="1", key="k", secret="s")
    for key, text in rows.items():
        default = getattr(app, RULES[key].field)
        if isinstance(default, bool | int | float):
            assert text in {str(default), f"{default:g}"}, key
    limits = dict(re.findall(r"`([A-Z_]+)` \((\d+|no limit)", PAGE))
    defaults = {key: getattr(AppLimits(), rule.field) for key, rule in LIMITS.items()}
    assert limits == {key: "no limit" if value is None else str(value) for key, value in defaults.items()}


def numbers_in(text: str) -> set[int]:
    found = {int(number) for number in re.findall(r"\bP(\d+)\b", text)}
    for first, last in re.findall(r"\bP(\d+)–P(\d+)\b", text):
        found |= set(range(int(first), int(last) + 1))
    return found


def test_every_behaviour_of_the_table_has_a_test_and_every_behaviour_is_in_the_table() -> None:
    table = "\n".join(re.findall(r"^\| P\d+[^|]*\|", PAGE, re.M))
    assert numbers_in(table) == set(ALL_NUMBERS)
    tests = "\n".join(path.read_text() for path in Path(ROOT / "tests" / "pusher").rglob("test_*.py"))
    assert numbers_in(tests) == set(ALL_NUMBERS)


def test_the_path_prefix_of_the_page_is_served(tmp_path: Path) -> None:
    app = ["--app-id", "1", "--key", "app-key", "--secret", "app-secret"]
    assert "`--prefix /push`" in PAGE
    with running(lambda directory: StandIn.standalone(directory, *app, "--prefix", "/push")) as server:
        assert httpx.get(f"{server.url}/push/apps/1/channels").status_code == 401
        assert httpx.get(f"{server.url}/apps/1/channels").status_code == 404


HOSTS = """
import Pusher from "pusher-js"
const pusher = new Pusher("app-key", { cluster: "eu" })
console.log(`wss://${pusher.config.wsHost} https://${pusher.config.httpHost}`)
process.exit()
"""


def test_the_hosts_in_the_policy_for_pages_are_those_that_pusher_js_connects_to() -> None:
    command = ["node", "--input-type=module", "--eval", HOSTS]
    hosts = subprocess.run(command, cwd=DRIVERS, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    assert f"connect-src 'self' {hosts}\n" in PAGE


def test_the_settings_of_pages_that_listen_are_accepted(settings: Any) -> None:
    names: dict[str, Any] = {"TELLTALE": {}}
    for language, code in BLOCKS:
        if language == "python" and "TELLTALE |=" in code:
            exec(code, names)  # noqa: S102 (a page of this repository)
    given = names["TELLTALE"]
    assert given.keys() == {"PUSHER_JS", "PUSHER_JS_OPTIONS"}
    settings.ROOT_URLCONF = "tests.pusher.site_urls"
    settings.TELLTALE = {"BROKER": "pusher://key-1:hush@push-internal:6001/1?tls=0", **given}
    assert check_settings() == []
    found = service()
    assert found is not None
    assert found["script"] == "/static/vendor/pusher.min.js"
    assert given["PUSHER_JS_OPTIONS"].items() <= found["options"].items()
