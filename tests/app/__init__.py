"""A small Django app with tasks for every runner. The tests' worker processes import it as they would a site's."""

from tests.app.celery import app as celery_app

__all__ = ["celery_app"]
