"""For a site's own API: a task as Django REST framework's serializer or django-ninja's schema, and who may see it."""
