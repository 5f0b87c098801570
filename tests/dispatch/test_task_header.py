"""The header in a runner's message: whatever a message says, reading it raises nothing and yields only valid values."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.dispatch.task_header import SESSION_CHARS, TaskHeader
from telltale.models import TaskState
from telltale.owners import Owner

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80) | st.uuids().map(str),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=6,
)
HEADERS = st.fixed_dictionaries({"task": JSON}, optional={"owner": JSON, "fresh": JSON, "group": JSON})
OWNERS = st.builds(Owner, user_id=st.none() | st.integers(0, 2**31), session=st.sampled_from(["", "a" * 40]))


@given(JSON | HEADERS)
def test_any_header_is_read_as_valid_values_or_ignored(data: Any) -> None:
    header = TaskHeader.from_json(data)
    if header is None:
        return
    assert isinstance(header.task_id, UUID)
    assert header.group is None or isinstance(header.group, UUID)
    assert header.owner.user_id is None or isinstance(header.owner.user_id, int)
    assert len(header.owner.session) <= SESSION_CHARS


@given(st.uuids(), OWNERS, st.booleans(), st.none() | st.uuids())
def test_a_header_of_ours_is_read_as_it_was_written(task_id: UUID, owner: Owner, fresh: bool, group: UUID) -> None:
    header = TaskHeader(task_id=task_id, owner=owner, needs_row=fresh, group=group)
    assert TaskHeader.from_json(header.to_json()) == header


TASK_ID = str(UUID(int=7))
"""A fixed id: processes that share the tests must collect the same names."""


@pytest.mark.parametrize(
    "data",
    [
        {"task": "x"},
        {"task": 5},
        {"task": TASK_ID, "owner": "ab"},
        {"task": TASK_ID, "owner": [1]},
        {"task": TASK_ID, "owner": 7},
        {"task": TASK_ID, "owner": ["x", ""]},
        {"task": TASK_ID, "owner": [{"a": 1}, ""]},
        {"task": TASK_ID, "owner": [None, "s" * 500]},
        {"task": TASK_ID, "owner": [None, "a\0b"]},
        {"task": TASK_ID, "owner": [None, ""], "group": "zz"},
        ["task"],
    ],
    ids=str,
)
def test_a_malformed_header_is_ignored(data: Any) -> None:
    assert TaskHeader.from_json(data) is None


def test_the_longest_session_is_that_of_the_table() -> None:
    assert TaskState._meta.get_field("session").max_length == SESSION_CHARS
