"""The npm package `telltale`: its content, its types, and what it needs."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

import telltale
from tests.docs.npm_package import run
from tests.servers import ROOT

STATIC: Final = ROOT / "src" / "telltale" / "static" / "telltale"
TYPED: Final = """
import { connect } from "telltale"
import type { Snapshot } from "telltale/live/snapshots.js"
import { TaskProgress, useConnection, useTask, useTasks } from "telltale/react"
import { taskStore } from "telltale/stores"
import { useTask as useVueTask } from "telltale/vue"
import { get, type Readable } from "svelte/store"
import { ref } from "vue"

const fraction: number | null | undefined = useTask("a", { mine: true })?.progress.fraction
const state: "live" | string = useConnection()
const labels: string[] = useTasks().map(task => task.label)
const store: Readable<Snapshot | null> = taskStore("a")
const task: Snapshot | null = useVueTask(ref<string | null>("a")).value
const bar = TaskProgress({ task: "a", mine: true, className: "wide" })
connect().task("a", ({ attempt }) => console.log(attempt + 1, get(store), fraction, state, labels, task, bar))
"""
WRONG: Final = """
import { useTask } from "telltale/react"
import { useTask as useVueTask } from "telltale/vue"

useTask(7)
useTask("a")!.progress.fractions
useVueTask("a").value!.attempt.trim()
"""
CONFIG: Final = {
    "compilerOptions": {
        "strict": True,
        "noEmit": True,
        "target": "es2022",
        "lib": ["es2022", "dom", "dom.iterable"],
        "module": "esnext",
        "moduleResolution": "bundler",
        "types": [],
        "skipLibCheck": True,
    }
}


@pytest.fixture
def package(npm_project: Path) -> Path:
    """The folder of the installed package."""
    return npm_project / "node_modules" / "telltale"


def test_the_npm_package_has_the_version_of_the_python_package() -> None:
    assert json.loads((ROOT / "package.json").read_text())["version"] == telltale.__version__


def test_the_npm_package_has_no_dependencies_and_runs_nothing_when_it_is_installed() -> None:
    content = json.loads((ROOT / "package.json").read_text())
    assert "dependencies" not in content
    assert all(content["peerDependenciesMeta"][name]["optional"] for name in content["peerDependencies"])
    assert not {"preinstall", "install", "postinstall", "prepare"} & content["scripts"].keys()


@pytest.mark.service
def test_the_npm_package_has_the_modules_as_they_are_and_their_types_and_nothing_else(package: Path) -> None:
    served = package / "src" / "telltale" / "static" / "telltale"
    modules = {path.relative_to(STATIC) for path in STATIC.rglob("*.js") if "bundle" not in path.parts}
    assert {path.relative_to(served) for path in served.rglob("*.js")} == modules
    assert all((served / name).read_bytes() == (STATIC / name).read_bytes() for name in modules)
    types = {path.relative_to(package / "dist" / "types") for path in (package / "dist" / "types").rglob("*.d.ts")}
    assert types == {name.with_name(name.name.removesuffix(".js") + ".d.ts") for name in modules}
    others = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.suffix not in {".js", ".ts"}}
    files = {name for name in others if (package / name).is_file()}
    assert files == {"LICENSE", "README.md", "package.json", "src/telltale/static/telltale/telltale.css"}


@pytest.mark.service
def test_a_project_in_typescript_gets_types_and_is_told_of_wrong_uses(npm_project: Path) -> None:
    (npm_project / "tsconfig.json").write_text(json.dumps(CONFIG | {"files": ["typed.ts", "wrong.ts"]}))
    (npm_project / "typed.ts").write_text(TYPED)
    (npm_project / "wrong.ts").write_text(WRONG)
    checked = run(str(ROOT / "node_modules" / ".bin" / "tsc"), "-p", ".", cwd=npm_project)
    assert re.findall(r"^(\S+)\((\d+),.*error (TS\d+)", checked.stdout, re.M) == [
        ("wrong.ts", "5", "TS2345"),
        ("wrong.ts", "6", "TS2551"),
        ("wrong.ts", "7", "TS2339"),
    ], checked.stdout


@pytest.mark.service
def test_a_server_that_renders_a_page_may_import_the_package_and_gets_no_task(npm_project: Path) -> None:
    code = """
    import { createElement } from "react"
    import { renderToString } from "react-dom/server"
    import { useTask, TaskProgress } from "telltale/react"
    const Page = () => [String(useTask("a")), createElement(TaskProgress, { task: "a", key: 1 })]
    console.log(renderToString(createElement(Page)))
    """
    printed = run("node", "--preserve-symlinks", "--input-type=module", "-e", code, cwd=npm_project)
    assert printed.stdout == 'null<task-progress task="a"></task-progress>\n', printed.stderr
