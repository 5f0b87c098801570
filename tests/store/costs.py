"""What statements cost, in rows or steps that the database counts: times would depend on the machine."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

STEPS = 10
"""How many steps of SQLite's machine are counted at once."""


@dataclass
class Cost:
    """What a call's statements cost."""

    statements: list[str] = field(default_factory=list)
    examined: int = 0
    """Rows examined; on SQLite, instructions of its virtual machine."""
    full_scans: list[str] = field(default_factory=list)
    """Statements that read a whole table of Telltale, with their plans."""


def analyse(*models: type[Model]) -> None:
    """Let the planner see the rows, as these servers do by themselves. SQLite does not."""
    if connection.vendor != "sqlite":
        statement = "ANALYZE" if connection.vendor == "postgresql" else "ANALYZE TABLE"
        with connection.cursor() as cursor:
            for model in models:
                cursor.execute(f"{statement} {model._meta.db_table}")


def cost_of(call: Callable[[], Any]) -> Cost:
    """Call it in a transaction that is rolled back, and return what its statements cost."""
    cost = Cost()
    with transaction.atomic():
        with connection.execute_wrapper(_Recorder(cost)), _counted(cost):
            call()
        transaction.set_rollback(True)
    return cost


class _Recorder:
    """Explains each statement before it runs."""

    def __init__(self, cost: Cost) -> None:
        self.cost = cost

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.cost.statements.append(sql)
        if sql.startswith(("SELECT", "UPDATE", "DELETE")) and not many:
            plan = _explain(sql, params, self.cost)
            if _is_full_scan(plan):
                self.cost.full_scans.append(f"{sql[:2_000]}\n{json.dumps(plan, default=str)[:2_000]}")
        return execute(sql, params, many, context)


def _explain(sql: str, params: Any, cost: Cost) -> Any:
    with closing(connection.create_cursor()) as cursor:
        if connection.vendor == "sqlite":
            with _not_counted():
                cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
                return [row[3] for row in cursor.fetchall()]
        if connection.vendor == "mysql":
            cursor.execute(f"EXPLAIN {sql}", params)
            return [(row[2], row[3], row[5]) for row in cursor.fetchall()]
        cursor.execute("SAVEPOINT explained")
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", params)
        plan = cursor.fetchone()[0][0]["Plan"]
        cursor.execute("ROLLBACK TO SAVEPOINT explained")
        nodes = list(_nodes(plan))
        cost.examined += sum(_rows_of(node) for node in nodes)
        return [(node.get("Relation Name"), node["Node Type"], node.get("Index Name")) for node in nodes]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _rows_of(node: dict[str, Any]) -> int:
    if "Scan" not in node["Node Type"] or node["Node Type"] == "Bitmap Index Scan":
        return 0  # The rows of a bitmap are counted where the table is read.
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def _is_full_scan(plan: Any) -> bool:
    if connection.vendor == "sqlite":
        return any(step.startswith(("SCAN telltale_", "SCAN U")) and "USING" not in step for step in plan)
    if connection.vendor == "mysql":
        return any(str(table).startswith(("telltale_", "U")) and kind == "ALL" for table, kind, _key in plan)
    return any(str(table).startswith("telltale_") and kind == "Seq Scan" for table, kind, _index in plan)


@contextmanager
def _counted(cost: Cost) -> Iterator[None]:
    """Count SQLite's steps, or the rows that MariaDB's handlers read; PostgreSQL's plans count for themselves."""
    if connection.vendor == "sqlite":
        _handler.cost = cost
        connection.connection.set_progress_handler(_handler, STEPS)
        try:
            yield
        finally:
            connection.connection.set_progress_handler(None, STEPS)
    elif connection.vendor == "mysql":
        before = _rows_read()
        yield
        cost.examined += _rows_read() - before
    else:
        yield


@contextmanager
def _not_counted() -> Iterator[None]:
    connection.connection.set_progress_handler(None, STEPS)
    try:
        yield
    finally:
        connection.connection.set_progress_handler(_handler, STEPS)


class _Handler:
    cost: Cost

    def __call__(self) -> int:
        self.cost.examined += STEPS
        return 0


_handler = _Handler()


def _rows_read() -> int:
    with closing(connection.create_cursor()) as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for _name, value in cursor.fetchall())
