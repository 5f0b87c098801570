"""A site whose paths have letters that are percent-encoded in URLs."""

from django.urls import include, path

urlpatterns = [path("aufträge/", include("telltale.urls"))]
