"""The settings of tests, for servers in processes of their own; `TELLTALE_MORE` (JSON) is merged into `TELLTALE`.

The processes run no tasks. So they have no runners, whose libraries take longer to import than everything else.
"""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, TELLTALE

INSTALLED_APPS = [app for app in INSTALLED_APPS if app.startswith(("django.contrib.", "telltale"))]
TELLTALE |= {"RUNNERS": ["thread"], "FOLLOW": {}} | json.loads(os.environ.get("TELLTALE_MORE", "{}"))
