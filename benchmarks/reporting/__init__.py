"""What reporting progress costs the worker's side; each module is a program of its own.

`progress` measures a loop, `short_tasks` a Celery worker with many short tasks. `python -m benchmarks.reporting`
measures large numbers: 10,000 tasks in one process (`sampling`, `database`) and 1,000 workers on one Redis
(`many_workers`).
"""
