"""System check of the installed packages: versions of web servers and libraries with known weaknesses.

It knows those that reach a site through Telltale. `pip-audit` asks a registry about all packages of a site;
`make audit` does so for a checkout of Telltale.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from django.core.checks import CheckMessage, Warning, register
from django.utils.version import get_version_tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakness:
    """A weakness of a package, and the first version of a series without it."""

    package: str
    fixed_in: str
    what: str
    since: str = "0"
    """The first version of the series, for a package with several that are supported."""

    def is_in(self, installed: str) -> bool:
        """Whether this version has it."""
        return get_version_tuple(self.since) <= get_version_tuple(installed) < get_version_tuple(self.fixed_in)


WEAKNESSES: Final = (
    Weakness(package="daphne", fixed_in="4.2.2", what="control characters in headers (CVE-2026-44546)"),
    Weakness(package="granian", fixed_in="2.7.4", what="subprotocols of a handshake (CVE-2026-42544)"),
    Weakness(package="channels", fixed_in="3.0.3", what="a visitor may get another's session (CVE-2020-35681)"),
    Weakness(package="celery", fixed_in="5.2.2", what="results of a shared back end run commands (CVE-2021-23727)"),
    Weakness(package="Django", fixed_in="5.2.11", what="many headers keep ASGI busy (CVE-2025-14550)"),
    Weakness(package="Django", fixed_in="6.0.2", since="6.0", what="many headers keep ASGI busy (CVE-2025-14550)"),
)


@register("telltale", deploy=True)
def check_packages(**_: Any) -> list[CheckMessage]:
    """Name each installed version that has a known weakness."""
    return [
        Warning(
            f"{weakness.package} {installed} has a known weakness: {weakness.what}.",
            hint=f'Install {weakness.package} {weakness.fixed_in} or later: pip install "{weakness.package}>='
            f'{weakness.fixed_in}".',
            id="telltale.W014",
        )
        for weakness in WEAKNESSES
        if (installed := _installed(weakness.package)) is not None and weakness.is_in(installed)
    ]


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
