"""The real store against a small model, in any order of calls: on SQLite, PostgreSQL and MariaDB.

MACHINE_EXAMPLES is the number of histories: few in a run of all tests, many in `make simulate`.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.store.machine.machine import StoreMachine

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "15"))
STEPS = 40


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(3_600)
def test_the_store_answers_as_the_model_whatever_the_order_of_calls() -> None:
    limits = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(StoreMachine, settings=limits)
