"""Which module is in which file of a built package."""

import re
from pathlib import Path

from telltale.pages import browser_files
from telltale.pages.bundles import MAIN, bundles

STATIC = Path(browser_files.__file__).parent.parent / "static" / "telltale"


def bundles_of(directory: Path, **sources: str) -> dict[str, str]:
    """Return the files for modules whose sources are given by their stems."""
    for stem, text in sources.items():
        (directory / f"{stem}.js").write_text(text)
    return bundles(directory, [f"{stem}.js" for stem in sources])


def test_what_the_page_runs_is_in_the_first_file_and_what_it_imports_on_demand_in_another(tmp_path: Path) -> None:
    found = bundles_of(
        tmp_path,
        elements='import "telltale/bar.js"\nconst tray = () => import("telltale/tray-define.js")\n',
        index="",
        bar='import { a } from "telltale/shared.js"\n',
        shared="",
        **{
            "tray-define": 'import { a } from "telltale/shared.js"\nimport {\n  b,\n} from "telltale/row.js"\n',
            "row": "",
        },
    )
    assert found == {
        **dict.fromkeys(["elements.js", "index.js", "bar.js", "shared.js"], MAIN),
        **dict.fromkeys(["tray-define.js", "row.js"], "tray"),
    }


def test_a_module_that_two_files_on_demand_need_is_in_the_first_with_its_imports(tmp_path: Path) -> None:
    found = bundles_of(
        tmp_path,
        elements='import("telltale/one.js")\nimport("telltale/two.js")\n',
        index="",
        one='export { a } from "telltale/queue.js"\n',
        two='import { a } from "telltale/queue.js"\n',
        queue='import "telltale/clock.js"\n',
        clock="",
    )
    assert {found["one.js"], found["two.js"]} == {"one", "two"}
    assert {found["queue.js"], found["clock.js"]} == {MAIN}


def test_an_import_in_a_comment_for_types_loads_nothing(tmp_path: Path) -> None:
    found = bundles_of(
        tmp_path,
        elements='/** @import { A } from "telltale/row.js" */\nimport("telltale/tray.js")\n',
        index="",
        tray='import { A } from "telltale/row.js"\n',
        row="",
    )
    assert found["row.js"] == "tray"


def test_a_script_that_no_module_imports_is_in_no_file(tmp_path: Path) -> None:
    assert bundles_of(tmp_path, elements="", index="", alone="") == {"elements.js": MAIN, "index.js": MAIN}


def test_the_elements_that_many_pages_lack_are_in_files_of_their_own() -> None:
    found = bundles(STATIC, browser_files.MODULES)
    assert found.keys() == {*browser_files.MODULES}
    for module in ("index.js", "live/websocket.js", "elements/task-progress.js", "elements/task-status.js"):
        assert found[module] == MAIN, module
    assert found["elements/task-tray.js"] == found["elements/tray-row.js"] == "task-tray"
    assert found["elements/task-toasts.js"] == found["elements/notice-queue.js"] == "notices"
    assert found["live/pusher-connection.js"] == "pusher"


def test_no_module_is_in_two_files_by_another_name() -> None:
    # The bare name would be resolved to a second copy of `index.js` in a file on demand.
    for module in browser_files.MODULES:
        text = (STATIC / module).read_text(encoding="utf-8")
        assert not re.search(r'^(?:import|export)[^"]*"telltale"', text, re.MULTILINE), module
