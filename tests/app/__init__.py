"""A small Django app with tasks for every runner; real workers of the tests import it as a site's would be."""

from tests.app.celery import app as celery_app

__all__ = ["celery_app"]
