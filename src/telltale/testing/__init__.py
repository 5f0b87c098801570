"""For tests: the contract suites that every runner, broker and transport passes, ours and yours."""

import pytest

# So that a failed assertion of a suite says what it compared.
pytest.register_assert_rewrite("telltale.testing.brokers", "telltale.testing.runners", "telltale.testing.transports")
