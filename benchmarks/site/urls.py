"""Telltale, and nothing else."""

from django.urls import include, path

urlpatterns = [path("telltale/", include("telltale.urls"))]
