"""What reporting costs where it is at its largest: 10,000 tasks in one process, 1,000 workers on one Redis.

python -m benchmarks.reporting
"""
