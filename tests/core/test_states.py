"""The table of moves: what may follow what."""

import pytest

from telltale.core.states import CLAIMABLE, ENDS, MOVES, RETRIABLE, State, sources


def test_every_state_is_in_the_table() -> None:
    assert set(MOVES) == set(State)


@pytest.mark.parametrize("end", sorted(ENDS))
def test_nothing_follows_an_end_within_an_attempt(end: State) -> None:
    assert end.ended
    assert not MOVES[end]


@pytest.mark.parametrize("state", sorted(set(State) - ENDS))
def test_whatever_goes_on_can_be_cancelled(state: State) -> None:
    assert State.CANCELLED in MOVES[state]


@pytest.mark.parametrize("state", sorted(set(State) - {State.QUEUED}))
def test_every_state_can_be_reached_from_where_sources_says(state: State) -> None:
    assert sources(state) == {old for old in State if state in MOVES[old]} != set()


def test_what_succeeded_or_was_cancelled_is_final_against_redelivery() -> None:
    assert {State.SUCCEEDED, State.CANCELLED}.isdisjoint(CLAIMABLE)
    assert set(State) - CLAIMABLE == {State.SUCCEEDED, State.CANCELLED}


def test_a_person_may_try_again_what_ended_without_success() -> None:
    assert ENDS - {State.SUCCEEDED} == RETRIABLE
