"""Telltale's URLs: `path("telltale/", include("telltale.urls"))`.

Ids are strings here, so that a malformed id gets the same response as a task that does not exist.
"""

from django.conf import settings
from django.urls import path

from telltale import page_data
from telltale.pages import message_list, push, self_test, task_list, views
from telltale.pages.gallery import urls as gallery

app_name = "telltale"

urlpatterns = [
    path("tasks/", task_list.tasks, name="tasks"),
    path("tasks/<str:task_id>/", views.task, name="task"),
    path("tasks/<str:task_id>/timeline/", views.timeline, name="timeline"),
    path("tasks/<str:task_id>/cancel/", views.cancel, name="cancel"),
    path("tasks/<str:task_id>/retry/", views.retry, name="retry"),
    path("messages/", message_list.messages, name="messages"),
    path("notices/<str:notice_id>/take/", views.take_notice, name="take_notice"),
    path("push/worker.js", push.worker, name="push_worker"),
    path("push/subscribe/", push.subscribe, name="push_subscribe"),
    path("push/unsubscribe/", push.unsubscribe, name="push_unsubscribe"),
    path("ticket/", views.ticket, name="ticket"),
    path("live/", views.live, name="live"),
    path("page/", page_data.page, name="page"),
    path("self-test/", self_test.self_test, name="self_test"),
]

if settings.DEBUG:
    urlpatterns += gallery.urlpatterns
