"""`python -m tests.accounts.serve MODULE …`: makes the site's tables, and becomes `python -m MODULE …`.

One process, because a second one would import all of the site again.
"""

import runpy
import sys

import django
from django.core.management import call_command
from django.db import connections

if __name__ == "__main__":
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    connections.close_all()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
