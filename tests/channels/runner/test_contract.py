"""Our worker of the channel layer keeps the contract of runners."""

import pytest

from telltale.channels.runner.runner import ChannelsRunner
from telltale.dispatch.runner import Ability, abilities
from telltale.testing.runners import WorkerProcessContract

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


class TestWorker(WorkerProcessContract):
    """The fixture `worker` is ours."""


def test_its_abilities_are_those_that_a_channel_layer_has() -> None:
    assert abilities(ChannelsRunner()) == {Ability.CHOOSES_ID, Ability.ASYNC}
