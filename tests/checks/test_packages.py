"""`check --deploy` names installed versions with known weaknesses."""

from collections.abc import Callable
from pathlib import Path

import pytest

from telltale import checks

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Returns a function that puts a package's metadata before all installed ones, as pip writes them."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(package: str, version: str) -> None:
        directory = tmp_path / f"{package}-{version}.dist-info"
        directory.mkdir()
        (directory / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")

    return write


def test_s50_the_packages_of_the_tests_have_no_known_weakness() -> None:
    assert checks.check_packages() == []


@pytest.mark.parametrize(
    ("package", "weak", "fixed"),
    [
        ("daphne", "4.2.1", "4.2.2"),
        ("granian", "2.7.3", "2.7.4"),
        ("channels", "3.0.2", "3.0.3"),
        ("celery", "5.2.1", "5.2.2"),
        ("Django", "5.2.10", "5.2.11"),
        ("Django", "6.0.1", "6.0.2"),
        ("Django", "6.0", "6.0.2"),
    ],
)
def test_s50_a_version_with_a_known_weakness_is_named_with_the_one_to_install(
    install: Install, package: str, weak: str, fixed: str
) -> None:
    install(package, weak)
    (warning,) = checks.check_packages()
    assert warning.id == "telltale.W014"
    assert f"{package} {weak} has a known weakness" in warning.msg
    assert "CVE-" in warning.msg
    assert f"{package}>={fixed}" in str(warning.hint)


@pytest.mark.parametrize(("package", "version"), [("daphne", "4.2.2"), ("Django", "5.2.11"), ("Django", "6.1")])
def test_s50_a_fixed_version_is_not_named(install: Install, package: str, version: str) -> None:
    install(package, version)
    assert checks.check_packages() == []
