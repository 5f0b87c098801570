"""The addresses of the site."""

from django.urls import include, path

from tests.accounts import views, walls

urlpatterns = [
    path("", views.page),
    path("sign-in/", views.sign_in),
    path("sign-out/", views.sign_out),
    path("start/", views.start),
    path("token/", views.token),
    path("hold/", views.hold),
    path("release/", views.release),
    path("accounts/", include("allauth.account.urls")),
    path("telltale/", include("telltale.urls")),
    path("", include(walls)),
    path("bar/", views.bar),
    path("favicon.ico", views.favicon),
]
