"""docs/monitoring.md: its settings work, and it lists each metric."""

import ast
import logging.config
import re
from pathlib import Path
from typing import Any

import pytest

from telltale.metrics.process import WORKER
from telltale.metrics.site import SITE

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
LIVE_SERVER = (Path(__file__).parents[2] / "docs" / "live-server.md").read_text()


@pytest.fixture
def kept_logging() -> Any:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_the_log_settings_of_the_page_name_the_task(kept_logging: None, capsys: pytest.CaptureFixture[str]) -> None:
    settings = re.search(r"^LOGGING = (\{.*?^\})", PAGE, re.DOTALL | re.MULTILINE)
    assert settings is not None
    logging.config.dictConfig(ast.literal_eval(settings.group(1)))
    logging.getLogger("shop").warning("Here.")
    assert capsys.readouterr().err == "WARNING [ ] Here.\n"


@pytest.mark.parametrize("metric", [*WORKER, *SITE], ids=lambda metric: metric.name)
def test_the_page_lists_the_metric(metric: Any) -> None:
    name = metric.name + ("_total" if metric.kind.value == "counter" else "")
    assert re.search(rf"^\| `{name}` \| {metric.kind.value} \| ", PAGE, re.MULTILINE)


def test_the_alarms_use_metrics_that_exist() -> None:
    alarms = PAGE[PAGE.index("## Alarms") :]
    for name in set(re.findall(r"telltale_\w+", alarms)):
        assert f"`{name}`" in LIVE_SERVER or f"| `{name}` |" in PAGE[: PAGE.index("## Alarms")], name
