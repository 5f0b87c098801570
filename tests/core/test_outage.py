"""An outage is logged twice: when it begins, and when it ends."""

import logging

import pytest

from telltale.core.outage import Outage


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("test"), "Saving", "Tasks go on.")
    outage.end(now=1)
    for now in (2, 3, 4):
        outage.begin(OSError("refused"), now=now)
    assert outage.is_ongoing
    outage.end(now=6.5)
    outage.end(now=7)
    assert not outage.is_ongoing
    assert [record.message for record in caplog.records] == [
        "Saving failed: OSError('refused'). Tasks go on.",
        "Saving works again, after 4.5 s.",
    ]
