"""The addresses of the site."""

from django.urls import include, path

from tests.accounts import views

urlpatterns = [
    path("", views.page),
    path("sign-in/", views.sign_in),
    path("sign-out/", views.sign_out),
    path("start/", views.start),
    path("release/", views.release),
    path("accounts/", include("allauth.account.urls")),
    path("telltale/", include("telltale.urls")),
]
