"""The package as it is built: its browser modules in a few files, also from the source distribution, without node."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

import hatch_build
from tests.accounts.bar import assert_bar_moves
from tests.accounts.deployment import Deployment, OpenPage, open_page
from tests.browser.conftest import browser
from tests.docs.test_content_security_policy import BLOCKS
from tests.docs.test_static_files import BEFORE_THE_SITE, requests_of
from tests.fresh.installs import build_wheel
from tests.servers import ROOT, running

__all__ = ["browser", "open_page"]

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]

BUNDLE: Final = "telltale/static/telltale/bundle/"
SCRIPTS: Final = ("telltale.js", "notices.js", "pusher.js", "shared.js", "task-timeline.js", "task-tray.js")
NAMES_OF_FILES: Final = (*SCRIPTS, "telltale.css")
FILES: Final = {BUNDLE + name for name in NAMES_OF_FILES}
BUILD: Final = "from hatchling import build; import sys; print(getattr(build, sys.argv[1])(sys.argv[2]))"
STORAGE: Final = """
STORAGES = {"staticfiles": {"BACKEND": "tests.docs.test_static_files.AggregatingStorage"}}
"""


def built(kind: str, root: Path, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Build `build_sdist` or `build_wheel` of the tree `root` into `directory`."""
    command = [sys.executable, "-c", BUILD, kind, str(directory)]
    return subprocess.run(command, cwd=root, env=variables or None, capture_output=True, text=True)


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the wheel's files for browsers."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.endswith((".js", ".css"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The source distribution, unpacked."""
    finished = built("build_sdist", ROOT, tmp_path)
    assert finished.returncode == 0, finished.stderr
    with tarfile.open(tmp_path / finished.stdout.split()[-1]) as archive:
        archive.extractall(tmp_path, filter="data")
    [root] = [path for path in tmp_path.iterdir() if path.is_dir()]
    return root


def test_a_wheel_from_the_source_distribution_needs_no_node_and_has_the_same_files(unpacked: Path) -> None:
    finished = built("build_wheel", unpacked, unpacked, PATH="/nowhere")
    assert finished.returncode == 0, finished.stderr
    files = contents(unpacked / finished.stdout.split()[-1])
    assert files.keys() > FILES
    assert files == {name: (unpacked / "src" / name).read_bytes() for name in files}


def test_s51_the_same_sources_build_the_same_bytes_wherever_and_whenever_they_are_built(
    unpacked: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "a" / "longer" / "path"
    shutil.copytree(unpacked, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    for kind in ("build_wheel", "build_sdist"):
        digests = []
        for root, zone in ((unpacked, "UTC"), (elsewhere, "Asia/Tokyo")):
            finished = built(kind, root, tmp_path / root.name / kind, PATH="/nowhere", TZ=zone)
            assert finished.returncode == 0, finished.stderr
            digests.append(sha256((tmp_path / root.name / kind / finished.stdout.split()[-1]).read_bytes()).hexdigest())
        assert digests[0] == digests[1], kind


def test_s51_the_browsers_modules_are_bundled_to_the_same_bytes(tmp_path: Path) -> None:
    bundles = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        hatch_build.build(ROOT, tmp_path / name)
        bundles.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert bundles[0] == bundles[1]
    assert len(bundles[0]) >= 2


def test_without_node_a_wheel_of_the_sources_is_built_with_a_warning_but_no_source_distribution(
    unpacked: Path,
) -> None:
    for name in FILES:
        (unpacked / "src" / name).unlink()
    (unpacked / "src/telltale/static/telltale/bundle").rmdir()
    finished = built("build_wheel", unpacked, unpacked, PATH="/nowhere")
    assert finished.returncode == 0, finished.stderr
    assert "needs node and npx" in finished.stdout + finished.stderr
    files = contents(unpacked / finished.stdout.split()[-1]).keys()
    assert "telltale/static/telltale/index.js" in files
    assert not FILES & files
    finished = built("build_sdist", unpacked, unpacked, PATH="/nowhere")
    assert finished.returncode != 0
    assert "needs node and npx. Install them." in finished.stderr


@pytest.fixture
def deployment(wheel: Path) -> Iterator[Deployment]:
    """A site that imports the package from the wheel, with hashed files and the strictest policy."""
    policy = BLOCKS["django-csp"].replace("[..., ", "[*INSTALLED_APPS, ").replace(", ...]", ", *MIDDLEWARE]")

    def deploy(directory: Path) -> Deployment:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(directory)  # noqa: S202
        return Deployment(directory, STORAGE + policy)

    with running(deploy) as deployment:
        yield deployment


NAMES: Final = "JSON.parse(document.querySelector('[type=importmap]').text).imports"
SAME: Final = """
    Promise.all(["telltale", "telltale/index.js", "telltale/live/live.js"].map(name => import(name)))
      .then(modules => new Set(modules.flatMap(({ connect, Live }) => [connect, Live])).size === 2)
"""


ADD_ELEMENTS: Final = """
    document.body.append(...["task-tray", "task-toasts", "task-timeline"].map(name => document.createElement(name)))
"""


def test_a_built_package_serves_what_a_page_needs_with_hashed_names_and_under_the_strictest_policy(
    deployment: Deployment, open_page: OpenPage
) -> None:
    page = open_page(deployment.nginx(BEFORE_THE_SITE, site=deployment.site()))
    urls = requests_of(page)
    assert_bar_moves(page)
    used = names_of(urls)
    assert (
        {"telltale.css", "telltale.js"} <= {*used} <= {*NAMES_OF_FILES} - {"pusher.js", "shared.js", "task-timeline.js"}
    )
    page.evaluate(ADD_ELEMENTS)
    for element in ("task-progress", "task-status", "task-tray", "task-toasts", "task-timeline"):
        page.evaluate("name => customElements.whenDefined(name).then(() => true)", element)
    # The names that a site may import lead to the same objects, without another request for a file.
    # Those for React and Vue need the framework.
    names = [n for n in page.evaluate(f"Object.keys({NAMES})") if n == "telltale" or n.endswith(".js")]
    assert {"telltale", "telltale/live/live.js", "telltale/elements/task-tray.js"} <= {*names}
    page.evaluate("names => Promise.all(names.map(name => import(name)))", names)
    assert page.evaluate(SAME) is True
    assert sorted(names_of(urls)) == sorted(NAMES_OF_FILES)


def names_of(urls: list[str]) -> list[str]:
    """Return the names of built files without their hashes."""
    return [re.sub(r".*/static/telltale/bundle/(\S+)\.[0-9a-f]{12}\.", r"\1.", url) for url in urls]
