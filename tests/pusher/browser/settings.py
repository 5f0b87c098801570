"""The demo's site, whose pages listen to a Pusher service. `PUSHER_URL` is the broker's, `PUSHER_SETTINGS` (JSON) more.

Its Content-Security-Policy names the service, as docs/pusher.md says.
"""

import json
import os
from urllib.parse import urlsplit

from demo import csp
from demo.settings import *  # noqa: F403
from demo.settings import BUILT_IN_CSP, DIR, TELLTALE, TEMPLATES
from tests.servers import ROOT

ROOT_URLCONF = "tests.pusher.browser.urls"
HOME = ROOT / "tests" / "pusher" / "browser"
SHARED = DIR / "shared"
"""While this file exists, every task is for all."""

URL = os.environ["PUSHER_URL"]
_host = f"127.0.0.1:{urlsplit(URL).port}"
CONNECT = ["'self'", f"ws://{_host}", f"wss://{_host}", f"http://{_host}"]
"""pusher-js tries TLS too, even if it need not."""
if BUILT_IN_CSP:
    from demo.settings import SECURE_CSP

    SECURE_CSP["connect-src"] = CONNECT
else:
    csp.POLICY += f"; connect-src {' '.join(CONNECT)}"

STATICFILES_DIRS = [ROOT / "demo" / "static", ROOT / "tests/pusher/drivers/node_modules/pusher-js/dist"]
TEMPLATES[0]["DIRS"] = [HOME / "templates", *TEMPLATES[0]["DIRS"]]  # type: ignore[misc]

TELLTALE = {
    **TELLTALE,
    "BROKER": URL,
    "CAN_FOLLOW": "tests.pusher.browser.urls.can_follow",
    "PUSHER_EVENTS_PER_S": 20.0,
    "PUSHER_JS": "web/pusher.min.js",
    **json.loads(os.environ.get("PUSHER_SETTINGS", "{}")),
}
