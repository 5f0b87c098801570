"""The style sheet and the browser modules: each by itself, or in the few files that a built package contains; and the
script that is written into pages."""

import re
from functools import cache
from pathlib import Path
from typing import Final

from django.templatetags.static import static

from telltale.pages import bundles

_STATIC: Final = Path(__file__).parent.parent / "static" / "telltale"
_FRAMEWORKS: Final = "frameworks"
"""The folder of the modules that only pages with React, Vue or Svelte import. Some import that framework."""
_BUNDLE: Final = "bundle"
"""The folder that `hatch_build.py` adds. A checkout and an editable installation have none."""

_BUNDLE_OF: Final = bundles.bundles(
    _STATIC,
    sorted(
        path.relative_to(_STATIC).as_posix()
        for path in _STATIC.rglob("*.js")
        if path.relative_to(_STATIC).parts[0] not in (_BUNDLE, _FRAMEWORKS)
    ),
)

MODULES: Final = tuple(_BUNDLE_OF)
"""The modules of every page as they are written. A script that stands alone is none."""

FOR_FRAMEWORKS: Final = tuple(sorted(path.stem for path in (_STATIC / _FRAMEWORKS).glob("*.js")))
"""The names below `telltale/` of the modules for frameworks. No built file contains them."""

is_bundled = (_STATIC / _BUNDLE / f"{bundles.MAIN}.js").is_file()


def module_files() -> tuple[str, ...]:
    """Return the files that every page loads, by their names below `telltale/`. Others are loaded on demand."""
    if is_bundled:
        return (f"{_BUNDLE}/{bundles.MAIN}.js",)
    return tuple(name for name, bundle in _BUNDLE_OF.items() if bundle == bundles.MAIN)


def url_of_module(name: str) -> str:
    """Return the URL of a module, or of the file that contains it and exports what it exports."""
    return static(f"telltale/{_BUNDLE}/{_BUNDLE_OF[name]}.js" if is_bundled else f"telltale/{name}")


def url_for_framework(name: str) -> str:
    """Return the URL of a module of `FOR_FRAMEWORKS`."""
    return static(f"telltale/{_FRAMEWORKS}/{name}.js")


def url_of_style_sheet() -> str:
    """Return the URL of the style sheet."""
    return static(f"telltale/{_BUNDLE}/telltale.css" if is_bundled else "telltale/telltale.css")


def urls_of_icons() -> list[str]:
    """Return the URLs of the icons that show progress, one for each quarter."""
    return [static(f"telltale/icons/quarter-{quarter}.svg") for quarter in range(4)]


@cache
def first_request() -> str:
    """Return the script of the page's first request, without its comments. It is the same for all pages."""
    text = Path(__file__).with_name("first_request.js").read_text(encoding="utf-8")
    code = re.sub(r"/\*.*?\*/|^ *//[^\n]*", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join(line.strip() for line in code.splitlines() if line.strip())
