"""Telltale's addresses: `path("telltale/", include("telltale.urls"))`.

Ids are taken as text: one that is malformed is answered as one that is not there, and not yours.
"""

from django.urls import path

from telltale.pages import views

app_name = "telltale"

urlpatterns = [
    path("tasks/", views.tasks, name="tasks"),
    path("tasks/<str:task_id>/", views.task, name="task"),
    path("tasks/<str:task_id>/cancel/", views.cancel, name="cancel"),
    path("tasks/<str:task_id>/retry/", views.retry, name="retry"),
    path("notices/<str:notice_id>/take/", views.take_notice, name="take_notice"),
    path("ticket/", views.ticket, name="ticket"),
    path("live/", views.live, name="live"),
]
