"""The addresses of the example. `pusher/auth/` signs what the browser may subscribe to."""

from django.urls import include, path

from project import views

urlpatterns = [
    path("", views.home, name="home"),
    path("sign-in/", views.sign_in, name="sign-in"),
    path("reports/", views.start_report, name="start-report"),
    path("pusher/", include("telltale.pusher.urls")),
    path("telltale/", include("telltale.urls")),
]
