"""The tests' settings, for servers in processes of their own; `TELLTALE_MORE` holds more of `TELLTALE`, as JSON."""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import TELLTALE

TELLTALE |= json.loads(os.environ.get("TELLTALE_MORE", "{}"))
