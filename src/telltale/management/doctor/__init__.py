"""`manage.py telltale doctor`: finds what is wrong with a running set-up, and names the setting to change."""
