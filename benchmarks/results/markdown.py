"""Tables in Markdown, and the marked blocks of a page in which they are put."""

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def with_block(text: str, name: str, content: str) -> str:
    """The page `text` with `content` between `<!-- name -->` and `<!-- /name -->`.

    Raises `LookupError` unless the page has exactly one such block.
    """
    block = f"<!-- {name} -->\n\n{content}\n\n<!-- /{name} -->"
    # A function, because a replacement string's backslashes would be read as groups.
    text, count = re.subn(f"<!-- {name} -->.*?<!-- /{name} -->", lambda _found: block, text, flags=re.DOTALL)
    if count != 1:
        raise LookupError(f"The page has {count} blocks “{name}”: put <!-- {name} --><!-- /{name} --> there once.")
    return text
