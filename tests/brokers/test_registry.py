"""Which broker a process has: by scheme, by path, one a process."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from telltale import brokers
from telltale.brokers.base import Reach
from telltale.brokers.memory import MemoryBroker


class OwnBroker(MemoryBroker):
    """A site's own."""

    def __init__(self, size: str = "1") -> None:
        super().__init__()
        self.size = int(size)


def test_a_process_has_one_broker() -> None:
    assert brokers.broker() is brokers.broker()


def test_changed_settings_make_another(settings) -> None:
    before = brokers.broker()
    settings.TELLTALE = {"BROKER": "none://"}
    assert brokers.broker() is not before
    assert brokers.broker().reach is Reach.NOWHERE


def test_a_site_may_bring_its_own_with_options() -> None:
    made = brokers.build(f"{__name__}.OwnBroker?size=3")
    assert isinstance(made, OwnBroker)
    assert made.size == 3


@pytest.mark.parametrize(
    "url", ["amqp://x", "nowhere.Broker", "telltale.brokers.memory.Nothing", f"{__name__}.OwnBroker?x=1"]
)
def test_what_is_unknown_is_named_with_what_is_known(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"local://, memory://, none://"):
        brokers.build(url)


@pytest.mark.parametrize("url", ["memory://host", "none://x"])
def test_a_scheme_without_options_takes_none(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="takes nothing more"):
        brokers.build(url)


@pytest.mark.parametrize(("reach", "seconds"), [(Reach.NOWHERE, 2), (Reach.MACHINE, 2), (Reach.SITE, 15)])
def test_the_pace_of_rereading_follows_from_the_reach(reach: Reach, seconds: float) -> None:
    assert brokers.recheck_s(reach) == seconds


def test_a_site_may_set_its_own_pace(settings) -> None:
    settings.TELLTALE = {"RECHECK_S": 0.7}
    assert brokers.recheck_s(Reach.SITE) == 0.7
