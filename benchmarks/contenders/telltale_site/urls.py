"""Telltale's URLs only."""

from django.urls import include, path

urlpatterns = [path("telltale/", include("telltale.urls"))]
