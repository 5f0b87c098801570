"""The addresses of the tests' site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("telltale/", include("telltale.urls")),
]
