"""The broker of a process: by scheme or dotted path, one for each process."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from telltale import brokers
from telltale.brokers.base import Reach
from telltale.brokers.memory import MemoryBroker


class OwnBroker(MemoryBroker):
    """A broker that a site has written."""

    def __init__(self, size: str = "1") -> None:
        super().__init__()
        self.size = int(size)


def test_a_process_has_one_broker() -> None:
    assert brokers.broker() is brokers.broker()


def test_changed_settings_build_another_broker(settings) -> None:
    before = brokers.broker()
    settings.TELLTALE = {"BROKER": "none://"}
    assert brokers.broker() is not before
    assert brokers.broker().reach is Reach.NOWHERE


def test_a_site_may_name_its_own_broker_with_options() -> None:
    broker = brokers.build(f"{__name__}.OwnBroker?size=3")
    assert isinstance(broker, OwnBroker)
    assert broker.size == 3


@pytest.mark.parametrize(
    "url", ["amqp://x", "nowhere.Broker", "telltale.brokers.memory.Nothing", f"{__name__}.OwnBroker?x=1"]
)
def test_an_unknown_broker_is_refused_and_the_error_lists_the_known_schemes(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"local://, memory://, none://"):
        brokers.build(url)


@pytest.mark.parametrize("url", ["memory://host", "none://x"])
def test_a_scheme_without_options_refuses_them(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="takes nothing more"):
        brokers.build(url)


@pytest.mark.parametrize(("reach", "seconds"), [(Reach.NOWHERE, 2), (Reach.MACHINE, 2), (Reach.SITE, 15)])
def test_the_interval_of_rereads_depends_on_the_reach(reach: Reach, seconds: float) -> None:
    assert brokers.recheck_s(reach) == seconds


def test_a_site_may_set_its_own_interval(settings) -> None:
    settings.TELLTALE = {"RECHECK_S": 0.7}
    assert brokers.recheck_s(Reach.SITE) == 0.7


@pytest.mark.parametrize(
    "url",
    [
        "memory://me:hush@host",
        "local://me:hush@host/x",
        "none://?password=hush",
        "missing.module.Broker?password=hush",
        "telltale.brokers.memory.MemoryBroker?api_key=hush",
        "channels://me:hush@missing",
    ],
)
def test_no_error_shows_a_secret(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        brokers.build(url)
    assert "TELLTALE['BROKER']" in str(refused.value)
    assert "hush" not in str(refused.value)
