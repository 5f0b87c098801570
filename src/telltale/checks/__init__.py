"""System checks: they report each wrong setting at start-up, with the fix.

`E`: Telltale can't work as documented. `W`: it works, but worse than it could. `I`: a reminder, of `check --deploy`
only. `apps.py` registers the checks by importing this package. They read settings and routers, never the database.
"""

from telltale.checks.database import check_database, check_sqlite
from telltale.checks.packages import check_packages
from telltale.checks.push import check_push
from telltale.checks.runners import check_dramatiq, check_runners
from telltale.checks.settings import check_pusher_apps, check_reach, check_settings
from telltale.checks.site import check_middleware, check_static_url, check_urls, check_user_key

__all__ = [
    "check_database",
    "check_dramatiq",
    "check_middleware",
    "check_packages",
    "check_push",
    "check_pusher_apps",
    "check_reach",
    "check_runners",
    "check_settings",
    "check_sqlite",
    "check_static_url",
    "check_urls",
    "check_user_key",
]
