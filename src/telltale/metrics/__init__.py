"""Metrics of worker processes and of the whole site, for Prometheus and OpenTelemetry. Neither is imported here.

`process` and `site` say what there is; `prometheus` and `opentelemetry` hand it over. The live server has metrics of
its own (`server/status.py`).
"""
