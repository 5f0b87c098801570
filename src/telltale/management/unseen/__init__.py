"""`manage.py telltale unseen` and `push-keys`."""
