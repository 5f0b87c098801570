"""The addresses of the example."""

from django.urls import include, path

from project import views

urlpatterns = [
    path("", views.home, name="home"),
    path("sign-in/", views.sign_in, name="sign-in"),
    path("kill-the-workers/", views.kill_workers, name="kill-workers"),
    path("by-hand/", include("by_hand.urls")),
    path("with-telltale/", include("with_telltale.urls")),
    path("telltale/", include("telltale.urls")),
]
