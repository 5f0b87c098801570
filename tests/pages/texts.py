"""Collects every text that people can read from the source. `python -m tests.pages.texts` writes docs/texts.md.

A text is the argument of a gettext function in a Python file, or text in a template. Reads the source only.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "telltale"
FILE = ROOT / "docs" / "texts.md"

SINGULAR = {"gettext", "gettext_lazy", "gettext_noop"}
PLURAL = {"ngettext", "ngettext_lazy"}
SHOWN_ATTRIBUTES = {"alt", "aria-description", "aria-label", "aria-valuetext", "placeholder", "title"}

HEADINGS = {
    "pages/catalogue.py": "A task's status and detail, buttons, tray and toasts",
    "templates": "Pages",
    "pages": "Responses",
    "dispatch": "Errors when a task is run again, or never began",
    "worker": "Errors of failed tasks",
    "runners": "Errors of failed tasks that a runner reports",
    "store": "Notices, and errors that the store writes",
    "": "Admin",
}
"""Headings by the start of a file's path, in the order of docs/texts.md. The empty path stands for all other files."""

INTRODUCTION = """# Texts

Every text that people can read. `python -m tests.pages.texts` collects them from the source, and a test compares.
`{…}`, `%(…)s` and `{{ … }}` stand for values. There are translations into Arabic, French, German, Japanese and Spanish.
To change a text or add a language, translate the texts in a `django.po` of your own, in one of your `LOCALE_PATHS`.
"""


def document() -> str:
    """Return the content of docs/texts.md."""
    texts: dict[str, dict[str, None]] = {heading: {} for heading in HEADINGS.values()}
    for path in sorted([*SOURCE.rglob("*.py"), *SOURCE.rglob("*.html")]):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith("migrations/"):
            continue
        found = texts_of_python(path) if path.suffix == ".py" else texts_of_template(path.read_text(encoding="utf-8"))
        heading = next(heading for start, heading in HEADINGS.items() if name.startswith(start))
        texts[heading].update(dict.fromkeys(found))
    for heading in [*texts][1:]:  # The first is in the order of its catalogue; the others don't depend on file names.
        texts[heading] = dict.fromkeys(sorted(texts[heading], key=str.casefold))
    sections = (f"## {heading}\n\n" + "".join(f"- {text}\n" for text in found) for heading, found in texts.items())
    return "\n".join([INTRODUCTION, *sections])


def texts_of_python(path: Path) -> Iterator[str]:
    """The arguments of gettext functions, in the file's order; raises `ValueError` for one that is not a literal."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = _gettext_functions(tree)
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        name = functions.get(call.func.id) if isinstance(call.func, ast.Name) else None
        if name is None:
            continue
        literals = [_literal(argument) for argument in call.args[: 2 if name in PLURAL else 1]]
        known = [text for text in literals if text is not None]
        if len(known) == len(literals):
            yield " / ".join(dict.fromkeys(known))
        elif not _is_lookup(call.args[0]):
            raise ValueError(
                f"{path}:{call.lineno}: {ast.unparse(call)} needs a literal, so that it can be translated."
            )


def _gettext_functions(tree: ast.Module) -> dict[str, str]:
    """The names under which the file imports gettext functions, with the functions' own names."""
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "django.utils.translation"]
    names = {alias.asname or alias.name: alias.name for node in imports for alias in node.names}
    return {alias: name for alias, name in names.items() if name in SINGULAR | PLURAL}


def _literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_lookup(node: ast.expr) -> bool:
    """Whether the text comes from a catalogue whose entries are marked with `gettext_noop`."""
    return "MESSAGES" in ast.unparse(node) or (isinstance(node, ast.Name) and node.id == "text")


def texts_of_template(source: str) -> Iterator[str]:
    """The texts of `translate` and `blocktranslate` tags, and the text that stands in the markup itself."""
    source = re.sub(r"\{#.*?#\}", "", source)
    source, blocks = _cut(r"\{%\s*blocktranslate.*?%\}(.*?)\{%\s*endblocktranslate\s*%\}", source)
    source, literals = _cut(r"\{%\s*translate\s+\"(.*?)\".*?%\}", source)
    yield from literals
    for block in blocks:
        yield " / ".join(dict.fromkeys(re.split(r"\{%\s*plural\s*%\}", block)))
    source = re.sub(r"(</?)\{\{.*?\}\}", r"\1p", source)  # an element whose name is a variable
    yield from _markup_texts(re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.DOTALL))


def _cut(pattern: str, source: str) -> tuple[str, list[str]]:
    """The source without the matches, and the first group of each match."""
    return re.sub(pattern, "", source, flags=re.DOTALL), re.findall(pattern, source, flags=re.DOTALL)


def _markup_texts(markup: str) -> Iterable[str]:
    parser = _TextParser()
    parser.feed(markup)
    return parser.texts


class _TextParser(HTMLParser):
    """Collects the text and the shown attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [value for name, value in attrs if name in SHOWN_ATTRIBUTES and value]

    def handle_data(self, data: str) -> None:
        if text := " ".join(data.split()):
            self.texts.append(text)


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
