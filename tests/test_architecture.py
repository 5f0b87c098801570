"""The architecture's rules, and the public names.

Imports point one way, the core does no I/O, only `store/` writes `TaskState`. The tests read the source, so an import
inside a function counts as much as one at the top.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import telltale
from telltale import store

SOURCE = Path(telltale.__file__).parent

# Each room imports only rooms that stand earlier in this list.
ROOMS = [
    "core",
    "native",
    "tracing",
    "conf",
    "authentication",
    "owners",
    "models",
    "store",
    "brokers",
    "messages",
    "unseen",
    "worker",
    "logs",
    "metrics",
    "dispatch",
    "runners",
    "transports",
    "live",
    "push",
    "server",
    "pages",
    "api",
    "channels",
    "pusher",
    "page_data",
    "asgi",
    "testing",
]
# Django's own files stand together, in the place of `asgi`.
DJANGO_FILES = {
    *("admin", "apps", "asgi", "checks", "context_processors"),
    *("management", "static_files", "templatetags", "urls"),
}
PLACE = {room: place for place, room in enumerate(ROOMS)} | dict.fromkeys(DJANGO_FILES, ROOMS.index("asgi"))


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[0] != "migrations":
            yield parts[0], path


@cache
def imports(path: Path) -> list[str]:
    """Dotted names that the file imports, anywhere in it, also for typing alone."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "telltale" and len(parts) > 1 and parts[1] in PLACE else None


def test_each_room_imports_only_earlier_rooms() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for room, path in modules()
        for name in imports(path)
        if room in PLACE and (target := room_of(name)) and PLACE[target] > PLACE[room]
    ]
    assert wrong == []


def test_every_room_has_a_place_in_the_order() -> None:
    assert {room for room, _path in modules()} - {"__init__"} == set(PLACE)


def test_the_design_page_lists_the_rooms_in_their_order() -> None:
    page = (SOURCE.parents[1] / "docs" / "design.md").read_text()
    [listed] = re.findall(r"```\nsrc/telltale/\n(.*?)```", page, re.S)
    assert re.findall(r"^  (\w+)(?:/|\.py)", listed, re.M) == ROOMS


def test_no_files_import_each_other_in_a_circle() -> None:
    names = {".".join(("telltale", *path.relative_to(SOURCE).with_suffix("").parts)) for _room, path in modules()}
    names = {name.removesuffix(".__init__") for name in names}
    uses = {}
    for _room, path in modules():
        this = ".".join(("telltale", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        found = {name if name in names else name.rpartition(".")[0] for name in imports(path)}
        uses[this] = (found & names) - {this, "telltale"}
    assert list(TopologicalSorter(uses).static_order())  # raises CycleError


@pytest.mark.parametrize("web", ["transports", "live", "server", "pages"])
def test_the_worker_and_the_web_side_never_import_each_other(web: str) -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for room, path in modules()
        for name in imports(path)
        if {room, room_of(name)} == {"worker", web}
    ]
    assert wrong == []


def test_the_core_imports_the_standard_library_and_itself() -> None:
    foreign = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for room, path in modules()
        for name in imports(path)
        if room == "core" and not name.startswith("telltale.core") and name.split(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []


@pytest.mark.parametrize("effect", ["time", "socket", "threading", "asyncio", "random", "os", "subprocess", "datetime"])
def test_the_core_has_no_clock_no_chance_and_no_effects(effect: str) -> None:
    users = [
        path.name for room, path in modules() if room == "core" and effect in {n.split(".")[0] for n in imports(path)}
    ]
    assert users == []


WRITES = {
    "update",
    "create",
    "bulk_create",
    "bulk_update",
    "get_or_create",
    "update_or_create",
    "delete",
    "save",
    "asave",
}


# What a chain that writes task states begins with: the model, or the store's own way to its rows.
TASK_STATES = {"TaskState", "task_rows", "task_rows_of"}


def writes_to_task_states(path: Path) -> Iterator[str]:
    """Calls that write, in a chain that begins there, such as `TaskState.objects.filter(…).update(…)`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.lstrip("a") in WRITES:
            chain = ast.unparse(node.func.value).removeprefix("store.")
            if chain.split(".")[0].split("(")[0] in TASK_STATES:
                yield f"{path.relative_to(SOURCE)}:{node.lineno} {chain}.{node.func.attr}"


def test_only_the_store_writes_task_states() -> None:
    assert [w for room, path in modules() if room != "store" for w in writes_to_task_states(path)] == []


def test_the_rule_about_writers_sees_those_that_there_are() -> None:
    seen = {path.stem for room, path in modules() if room == "store" and any(writes_to_task_states(path))}
    assert {"groups", "pruning", "queueing"} <= seen


def test_the_store_is_entered_by_its_public_names_alone() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for room, path in modules()
        for name in imports(path)
        if room != "store" and name.startswith("telltale.store.") and name.split(".", 2)[2] not in store.__all__
    ]
    assert wrong == []


def test_the_modules_of_the_store_import_each_other_in_no_circle() -> None:
    uses = {
        f"telltale.store.{path.stem}".removesuffix(".__init__"): {name.rpartition(".")[0] for name in imports(path)}
        for room, path in modules()
        if room == "store"
    }
    assert uses["telltale.store.ending"] >= {"telltale.store.write_end", "telltale.store.groups"}
    TopologicalSorter(uses).prepare()


def test_the_public_names_are_these() -> None:
    assert set(telltale.__all__) == {
        "Cancelled",
        "TaskError",
        "__version__",
        "aaccepted",
        "acancel",
        "accepted",
        "aenqueue",
        "aenqueue_many",
        "anotify",
        "apublish",
        "aretry",
        "aticket_for",
        "call_command",
        "cancel",
        "check_cancelled",
        "current",
        "enqueue",
        "enqueue_many",
        "follow",
        "no_cancel",
        "notify",
        "owned_by",
        "progress",
        "publish",
        "retry",
        "stage",
        "ticket_for",
        "track",
        "tracked",
    }
    for name in telltale.__all__:
        assert getattr(telltale, name) is not None


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'track_it'; it has .*tracked"):
        telltale.track_it  # noqa: B018
