"""What our own code never does, by its source."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache

from tests.servers import ROOT

SOURCE = ROOT / "src/telltale"
MODULES = sorted(path for path in SOURCE.rglob("*.py"))

SERIALIZERS = {"pickle", "marshal", "shelve", "yaml", "dill", "cloudpickle", "jsonpickle", "joblib"}
"""Modules that make objects of the data that they read."""

HTTP_CLIENTS = {"http.client", "urllib.request", "requests", "httpx", "aiohttp", "urllib3"}
WHERE_HTTP_IS_SENT = {
    "management/doctor/fetch.py",  # to the address that its operator names
    "push/sender.py",  # to the push services of the settings
    "pusher/publisher/service.py",  # to the Pusher service of the settings
    "pusher/server/hooks/webhook_request.py",  # to the webhook of the app's settings, signed
}


@cache
def trees() -> list[tuple[str, ast.Module]]:
    return [(path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text())) for path in MODULES]


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree: ast.Module) -> Iterator[str]:
    """The names of the functions that are called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            yield function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def places(found: Iterator[tuple[str, set[str]]]) -> dict[str, set[str]]:
    return {path: names for path, names in found if names}


def test_s34_no_module_makes_objects_or_code_of_data() -> None:
    assert places((path, SERIALIZERS & {name.split(".")[0] for name in imports(tree)}) for path, tree in trees()) == {}
    code = {"eval", "exec", "compile_command"}
    assert places((path, code & set(calls(tree))) for path, tree in trees()) == {}


def test_s46_the_processes_of_a_site_call_each_other_by_no_request() -> None:
    # They share the database and the broker. So there is no internal address, and no key for one.
    senders = places((path, HTTP_CLIENTS & set(imports(tree))) for path, tree in trees())
    assert set(senders) == WHERE_HTTP_IS_SENT


def test_s52_no_response_streams_outside_of_the_transports() -> None:
    # An open response under Django holds its database connection and its place in the server.
    assert places((path, {"StreamingHttpResponse", "FileResponse"} & set(calls(tree))) for path, tree in trees()) == {}


def test_s52_no_text_becomes_markup_unescaped() -> None:
    # The tags mark what they have encoded as JSON themselves; everything else is escaped by Django.
    marking = places((path, {"mark_safe", "RawSQL"} & set(calls(tree))) for path, tree in trees())
    assert marking == {"templatetags/telltale.py": {"mark_safe"}}
    for template in sorted((SOURCE / "templates").rglob("*.html")):
        assert not re.search(r"\|\s*safe\b|autoescape off|\bonclick=|javascript:", template.read_text()), template


def test_s51_the_modules_of_the_browser_have_no_dependencies_and_nothing_runs_at_their_installation() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    for kind in ("dependencies", "optionalDependencies", "bundledDependencies"):
        assert kind not in package
    # A page that uses such a framework has it already.
    optional = package.get("peerDependenciesMeta", {})
    assert all(optional[name] == {"optional": True} for name in package.get("peerDependencies", {}))
    hooks = {"preinstall", "install", "postinstall", "prepare", "prepublish"}  # npm runs these for those who install it
    assert not hooks & package.get("scripts", {}).keys()
    for version in package["devDependencies"].values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), "pinned"


SECRETS = "|".join(
    [
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
        r"\bAKIA[0-9A-Z]{16}\b",
        r"\bgh[pousr]_\w{36}",
        r"\bxox[abprs]-\w{10}",
        r"\b(npm|pypi)[-_]\w{36}",
    ]
)
"""How keys of clouds, hosts of code and registries look."""


def test_s52_no_key_is_among_the_files() -> None:
    folders = ("src", "demo", "examples", "docs", "benchmarks", ".ci", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if "node_modules" not in path.parts]
    files = [path for path in files if path.is_file() and path.suffix not in {".png", ".mo", ".pyc", ".sqlite3"}]
    assert len(files) > 500
    assert [path for path in files if re.search(SECRETS, path.read_text(errors="replace"))] == []
