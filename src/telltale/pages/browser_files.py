"""The style sheet and the browser modules: each by itself, or as one file, which a built package contains."""

from pathlib import Path
from typing import Final

from django.templatetags.static import static

_STATIC: Final = Path(__file__).parent.parent / "static" / "telltale"
_BUNDLE: Final = "bundle"
"""The folder that `hatch_build.py` adds. A checkout and an editable installation have none."""

MODULES: Final = tuple(
    sorted(
        path.relative_to(_STATIC).as_posix()
        for path in _STATIC.rglob("*.js")
        if path.relative_to(_STATIC).parts[0] != _BUNDLE
    )
)
"""The modules as they are written."""

is_bundled = (_STATIC / _BUNDLE / "telltale.js").is_file()


def module_files() -> tuple[str, ...]:
    """Return the files that a page loads, by their names below `telltale/`."""
    return (f"{_BUNDLE}/telltale.js",) if is_bundled else MODULES


def url_of_module(name: str) -> str:
    """Return the URL of a module, or of the file that contains it and exports what it exports."""
    return static(f"telltale/{module_files()[0] if is_bundled else name}")


def url_of_style_sheet() -> str:
    """Return the URL of the style sheet."""
    return static(f"telltale/{_BUNDLE}/telltale.css" if is_bundled else "telltale/telltale.css")
