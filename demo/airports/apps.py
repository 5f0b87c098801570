"""The airports as a Django app."""

from django.apps import AppConfig


class AirportsConfig(AppConfig):
    """`"demo.airports"` in INSTALLED_APPS."""

    name = "demo.airports"
    label = "airports"
