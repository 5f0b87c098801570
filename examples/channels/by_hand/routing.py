"""The addresses of the sockets, and the names of the channels that a worker listens to."""

from django.urls import path

from by_hand.consumers import ReportSocket, ReportTask

sockets = [path("ws/by-hand/<uuid:process>/", ReportSocket.as_asgi())]
tasks = {"by-hand-report": ReportTask.as_asgi()}
