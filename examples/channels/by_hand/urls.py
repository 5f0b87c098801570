"""The pages of the version by hand."""

from django.urls import path

from by_hand import views

app_name = "by-hand"
urlpatterns = [
    path("", views.new_report, name="new"),
    path("<uuid:process>/", views.report, name="report"),
]
