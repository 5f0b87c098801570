"""Which browser module is in which file of a built package. Standard library only: `hatch_build.py` runs this too.

The first file holds what the page runs at once: all that `elements.js` and `index.js` import. A module that is
imported on demand, by `import("telltale/…")`, is a file of its own, with what only it needs. What two such files need
is in the first, because a module must not be instantiated twice.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

MAIN: Final = "telltale"
"""The name of the first file, without its suffix."""
ENTRIES: Final = ("elements.js", "index.js")
"""The modules that the page runs, or its scripts import."""

# JSDoc's `@import` comments begin with other characters, so they don't count.
_STATIC_IMPORT: Final = re.compile(r'^(?:import|export)\b(?:[^"]*?\bfrom)? "telltale(?:/([^"]+))?"', re.MULTILINE)
_DYNAMIC_IMPORT: Final = re.compile(r'\bimport\(\s*"telltale/([^"]+)"\)')


def bundles(folder: Path, modules: Iterable[str]) -> dict[str, str]:
    """Return the name of the file for each of the modules, whose paths are relative to `folder`.

    A module that none of these needs is a script of its own, and in no file.
    """
    sources = {name: (folder / name).read_text(encoding="utf-8") for name in modules}
    imports = {name: {found or "index.js" for found in _STATIC_IMPORT.findall(text)} for name, text in sources.items()}
    roots = sorted({root for text in sources.values() for root in _DYNAMIC_IMPORT.findall(text)})
    needed = {root: set(_reachable([root], imports)) for root in roots}
    main = set(_reachable(ENTRIES, imports))
    counts = Counter(name for names in needed.values() for name in names)
    main |= set(_reachable([name for name, count in counts.items() if count > 1], imports))
    on_demand = {name: file_of(root) for root, names in needed.items() for name in names - main}
    return {name: on_demand.get(name, MAIN) for name in sources if name in main or name in on_demand}


def file_of(root: str) -> str:
    """Return the name of the file for a module that is imported on demand: "task-tray" for its `-define.js`."""
    return Path(root).stem.removesuffix("-define")


def _reachable(names: Iterable[str], imports: Mapping[str, set[str]]) -> Iterator[str]:
    waiting, found = list(names), set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += imports[name]
            yield name
