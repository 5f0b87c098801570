"""`manage.py telltale worker`: a worker for the channel layer."""
