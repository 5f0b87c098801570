"""Makes the table of abilities in docs/runners/README.md. `python -m tests.runners.abilities_table` writes it."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "runners" / "README.md"
BEGIN, END = "<!-- table -->\n", "<!-- /table -->"


def abilities_table() -> str:
    """The table as Markdown: a column for each runner that comes with Telltale, installed or not."""
    from telltale.dispatch.registry import BUILT_IN
    from telltale.dispatch.runner import Ability, abilities

    runners = [_load(path) for _name, path in sorted(BUILT_IN.items())]
    lines = ["| | " + " | ".join(f"`{runner.name}`" for runner in runners) + " |"]
    lines.append("| --- |" + " --- |" * len(runners))
    for ability in Ability:
        cells = " | ".join("yes" if ability in abilities(runner) else "" for runner in runners)
        lines.append(f"| {ability.value} | {cells} |")
    return "\n".join(lines) + "\n"


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)()


def main() -> None:
    """Write the table into the page."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + abilities_table() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
