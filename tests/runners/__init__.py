import pytest

# A failed assertion in this module then shows the values that it compared.
pytest.register_assert_rewrite("tests.runners.own_calls")
