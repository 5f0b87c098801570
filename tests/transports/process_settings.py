"""The settings of tests, for servers in processes of their own; `TELLTALE_MORE` (JSON) is merged into `TELLTALE`."""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import TELLTALE

TELLTALE |= json.loads(os.environ.get("TELLTALE_MORE", "{}"))
