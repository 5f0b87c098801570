"""The pages of the version with Telltale."""

from django.urls import path

from with_telltale import views

app_name = "with-telltale"
urlpatterns = [
    path("", views.new_report, name="new"),
    path("<uuid:process>/", views.report, name="report"),
    path("<uuid:process>/own-socket/", views.own_socket, name="own-socket"),
]
