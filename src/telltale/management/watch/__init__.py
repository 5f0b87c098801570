"""`manage.py telltale watch`: tasks in a terminal. `command` runs it, `feed` has the snapshots, views show them."""
