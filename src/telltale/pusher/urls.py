"""The URLs of a site that uses a Pusher service: `path("pusher/", include("telltale.pusher.urls"))`.

pusher-js asks `/pusher/auth` and `/pusher/user-auth` unless it is told otherwise, so each path works without its last
slash too: a redirect would lose the form.
"""

from django.urls import path

from telltale.pusher import views

app_name = "telltale_pusher"

urlpatterns = [
    path("auth/", views.auth, name="auth"),
    path("auth", views.auth),
    path("user-auth/", views.user_auth, name="user_auth"),
    path("user-auth", views.user_auth),
    path("webhook/", views.webhook, name="webhook"),
    path("webhook", views.webhook),
]
