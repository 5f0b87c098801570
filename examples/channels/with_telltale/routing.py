"""The address of the project's own socket, and the channel that a worker listens to."""

from django.urls import path

from with_telltale.consumers import ReportSocket, ReportTask

sockets = [path("ws/with-telltale/<uuid:process>/", ReportSocket.as_asgi())]
tasks = {ReportTask.channel: ReportTask.as_asgi()}
