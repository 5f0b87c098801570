"""What several pages of the documentation share."""

from pathlib import Path

import pytest

from tests.docs.npm_package import install


@pytest.fixture(scope="session")
def npm_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packed npm package `telltale` and the frameworks in its `node_modules`."""
    directory = tmp_path_factory.mktemp("npm")
    install(directory)
    return directory
