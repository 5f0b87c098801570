"""The site of docs/frameworks.md: its pages and components, with the tasks of the site of soft navigation."""

import re
from pathlib import Path
from typing import Final

from tests.accounts.site import AccountsSite
from tests.docs import soft_site
from tests.docs.npm_package import FRAMEWORKS, run
from tests.servers import ROOT

PAGE: Final = (ROOT / "docs" / "frameworks.md").read_text()
BLOCKS: Final = dict(re.findall(r"^```\w+\n(?://|#|<!--|\{#) ([\w./]+)(?: -->| #\})?\n(.*?)^```", PAGE, re.S | re.M))
URLS: Final = """
from django.shortcuts import render
from soft_tasks import first
import telltale
from telltale.models import TaskState
from react_views import show as show_react
from vue_views import show as show_vue

def framework(request, title):
    task = TaskState.objects.get(pk=request.session["tasks"][0])
    shows = {"react_app": show_react, "vue_app": show_vue}
    if show := shows.get(request.COOKIES["library"]):
        return show(request, task)
    return render(request, f"{request.COOKIES['library']}.html", {"title": title, "task": task})

def begin(request):
    run = request.session["run"] = request.META["HTTP_REFERER"].partition("?run=")[2]
    return telltale.accepted(request, telltale.enqueue(first, run))

urlpatterns[0] = path("", framework, {"title": "Imports"}, name="imports")
urlpatterns += [path("app/", lambda request: render(request, "app.html")), path("imports/", begin)]
"""


def start(directory: Path, project: Path) -> AccountsSite:
    """Build the components in a project that has the npm package, and start the site."""
    components = {name: code for name, code in BLOCKS.items() if name.endswith((".jsx", ".svelte", ".js"))}
    for name, code in components.items():
        (project / name).write_text(code)
    built = run("node", str(FRAMEWORKS / "build.js"), str(project), cwd=project)
    assert built.returncode == 0, built.stderr
    vue = FRAMEWORKS / "node_modules" / "vue" / "dist"
    folders = [("app", str(project / "app")), ("vue", str(vue))]
    settings = re.sub(r"STATICFILES_DIRS = .*", f"STATICFILES_DIRS = {folders!r}", soft_site.SETTINGS)
    pages = {name: code for name, code in BLOCKS.items() if name.startswith("templates/")}
    pages["templates/svelte.html"] = pages["templates/react.html"].replace("app/react.js", "app/svelte.js")
    pages["templates/app.html"] = BLOCKS["app.html"]
    files = soft_site.files() | {
        "site_settings.py": settings,
        "site_urls.py": soft_site.URLS + URLS,
        "react_views.py": BLOCKS["react_views.py"],
        "vue_views.py": BLOCKS["vue_views.py"],
    }
    return AccountsSite(directory, files=files | pages)
