"""The URLs of the demo."""

from django.urls import include, path

from demo import people
from demo.airports import views

urlpatterns = [
    path("", views.home, name="home"),
    path("imports/", views.imports, name="imports"),
    path("imports/<uuid:pk>/", views.import_page, name="import"),
    path("samples/<slug:name>.csv", views.sample, name="sample"),
    path("run/<slug:name>/", views.run, name="run"),
    path("kill-the-worker/", views.kill_the_worker, name="kill"),
    path("sign-in/", people.sign_in, name="sign-in"),
    path("telltale/", include("telltale.urls")),
]
