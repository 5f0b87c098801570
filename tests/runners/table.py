"""The table of abilities in `docs/runners/README.md`, made from the code; `python -m tests.runners.table` renews it."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "runners" / "README.md"
BEGIN, END = "<!-- table -->\n", "<!-- /table -->"


def table() -> str:
    """All runners that come with Telltale, whether this process has them or not."""
    from telltale.dispatch.registry import BUILT_IN
    from telltale.dispatch.runner import Ability, abilities

    def load(path: str) -> Any:
        module, _, name = path.partition(":")
        return getattr(import_module(module), name)()

    runners = [load(path) for _name, path in sorted(BUILT_IN.items())]
    lines = ["| | " + " | ".join(f"`{runner.name}`" for runner in runners) + " |"]
    lines.append("| --- |" + " --- |" * len(runners))
    for ability in Ability:
        told = " | ".join("yes" if ability in abilities(runner) else "" for runner in runners)
        lines.append(f"| {ability.value} | {told} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page anew."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
