"""The names of the groups. A name is computed from data that the task and the page both have."""

from uuid import UUID


def user_group(user_id: int) -> str:
    """The group of all open pages of one user."""
    return f"by-hand.user.{user_id}"


def process_group(process: UUID | str) -> str:
    """The group of all open pages of one process, by the UUID in the pages' path."""
    return f"by-hand.process.{process}"
