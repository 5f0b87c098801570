"""The table of moves between states."""

import pytest

from telltale.core.states import CLAIMABLE, ENDS, MOVES, RETRIABLE, State, sources


def test_every_state_is_in_the_table() -> None:
    assert set(MOVES) == set(State)


@pytest.mark.parametrize("end", sorted(ENDS))
def test_an_end_allows_no_move_within_its_attempt(end: State) -> None:
    assert end.ended
    assert not MOVES[end]


@pytest.mark.parametrize("state", sorted(set(State) - ENDS))
def test_every_state_that_is_no_end_can_move_to_cancelled(state: State) -> None:
    assert State.CANCELLED in MOVES[state]


@pytest.mark.parametrize("state", sorted(set(State) - {State.QUEUED}))
def test_the_sources_of_a_state_are_the_states_that_may_move_to_it(state: State) -> None:
    assert sources(state) == {old for old in State if state in MOVES[old]} != set()


def test_a_redelivery_can_claim_every_task_that_has_not_succeeded_or_been_cancelled() -> None:
    assert {State.SUCCEEDED, State.CANCELLED}.isdisjoint(CLAIMABLE)
    assert set(State) - CLAIMABLE == {State.SUCCEEDED, State.CANCELLED}


def test_a_person_may_retry_tasks_that_ended_without_success() -> None:
    assert ENDS - {State.SUCCEEDED} == RETRIABLE
