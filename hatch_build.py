"""Build hook: a few files of all browser modules and one style sheet, made from the sources when the package is built.

One file has what every page runs, the others what is loaded on demand (`src/telltale/pages/bundles.py`). The source
distribution contains these files, so an installation from it needs no node. A wheel that is built from a
checkout without node has none, and serves the sources, as an editable installation does. esbuild does the work; its
version is pinned in package.json.
"""

import json
import runpy
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STATIC = Path("src", "telltale", "static", "telltale")
FOLDER = "bundle"
FRAMEWORKS = "frameworks"
"""The folder of modules that are no part of the file, because some import React or Vue."""
BANNER = "/*! django-telltale, BSD-3-Clause */"
ENTRY = "elements.js"
"""The module that the page runs. It comes first, so that modules are evaluated in the same order as by themselves."""


class NoNode(Exception):
    """Neither esbuild nor npx is installed."""


class BundleHook(BuildHookInterface[Any]):
    """Adds `telltale/static/telltale/bundle/` to wheels and source distributions."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the files into a directory of their own; the checkout stays as it is."""
        root = Path(self.root)
        # An unpacked source distribution has them.
        if version == "editable" or (root / STATIC / FOLDER).is_dir():
            return
        self._directory = tempfile.TemporaryDirectory(prefix="telltale-bundle-")
        try:
            build(root, Path(self._directory.name))
        except NoNode as error:
            if self.target_name == "sdist":
                raise
            self.app.display_warning(f"{error} This wheel serves each browser module by itself.")
            return
        package = STATIC if self.target_name == "sdist" else STATIC.relative_to("src")
        build_data["force_include"][self._directory.name] = str(package / FOLDER)


def build(root: Path, directory: Path) -> None:
    """Write `telltale.js`, the files of what is loaded on demand, and `telltale.css` of the checkout `root`."""
    command = esbuild(root)
    sources = sorted(
        path.relative_to(root / STATIC).as_posix()
        for path in (root / STATIC).rglob("*.js")
        if path.relative_to(root / STATIC).parts[0] != FRAMEWORKS
    )
    # By its path, because the package itself needs Django.
    rules = runpy.run_path(str(root / "src" / "telltale" / "pages" / "bundles.py"))
    bundle_of = rules["bundles"](root / STATIC, sources)
    for bundle in sorted(set(bundle_of.values())):
        inside = [name for name, place in bundle_of.items() if place == bundle]
        outside = [name for name, place in bundle_of.items() if place != bundle]
        _build_bundle(command, root, directory / f"{bundle}.js", inside, outside)
    style = [str(STATIC / "telltale.css"), "--minify", f"--banner:css={BANNER}"]
    _run([*command, *style, f"--outfile={directory / 'telltale.css'}"], root)


def _build_bundle(command: list[str], root: Path, file: Path, inside: list[str], outside: list[str]) -> None:
    """Write a file of the modules `inside`. It imports those `outside` by their names in the page's import map."""
    lines = [f'import "telltale/{ENTRY}"'] if ENTRY in inside else []
    # As names of the import map, all modules lead to their file, so it exports what they export.
    lines += [f'export * from "telltale/{name}"' for name in inside]
    external = [f"--external:telltale/{name}" for name in outside]
    options = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--tsconfig=jsconfig.json", *external]
    with tempfile.NamedTemporaryFile(suffix=".json") as meta:
        options += [f"--banner:js={BANNER}", f"--outfile={file}", f"--metafile={meta.name}"]
        _run([*command, *options, "--sourcefile=bundle.js"], root, "\n".join(lines))
        [exported] = [set(output["exports"]) for output in json.load(meta)["outputs"].values()]
    # As in the sources: Django 5.2 takes `import("` for a relative address.
    file.write_text(file.read_text(encoding="utf-8").replace('import("', 'import( "'), encoding="utf-8")
    if missing := set().union(*(exports_of(root / STATIC / name) for name in inside)) - exported:
        raise ValueError(f"Two browser modules export different things as {sorted(missing)}. Rename one of them.")


def exports_of(module: Path) -> set[str]:
    """Return the names that a module declares and exports."""
    kinds = ("const ", "let ", "class ", "function ", "async function ")
    lines = [
        line.removeprefix("export ")
        for line in module.read_text(encoding="utf-8").splitlines()
        if line.startswith("export ")
    ]
    declarations = [line.removeprefix(kind) for line in lines for kind in kinds if line.startswith(kind)]
    return {"".join(c if c.isalnum() or c in "_$" else " " for c in text).split()[0] for text in declarations}


def esbuild(root: Path) -> list[str]:
    """Return the command that runs the pinned esbuild: the checkout's, or npm's."""
    version = json.loads((root / "package.json").read_text())["devDependencies"]["esbuild"]
    installed = root / "node_modules" / ".bin" / "esbuild"
    if installed.exists() and _run([str(installed), "--version"], root).strip() == version:
        return [str(installed)]
    npx = shutil.which("npx")
    if npx is None:
        raise NoNode(f"The browser modules are bundled by esbuild {version}, which needs node and npx. Install them.")
    return [npx, "--yes", f"esbuild@{version}"]


def _run(command: list[str], root: Path, text: str = "") -> str:
    finished = subprocess.run(command, cwd=root, input=text, capture_output=True, text=True)
    if finished.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])} failed:\n{finished.stderr}")
    return finished.stdout
