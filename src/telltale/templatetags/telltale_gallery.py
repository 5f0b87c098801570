"""The template tag of the gallery: page data that lead to the gallery's own addresses."""

from collections.abc import Mapping

from django import template
from django.utils.html import json_script
from django.utils.safestring import SafeString

from telltale.page_data import page_data

register = template.Library()


@register.simple_tag(takes_context=True)
def telltale_gallery(context: template.Context, urls: Mapping[str, str]) -> SafeString:
    """Return a data block that replaces that of `{% telltale %}`: the page reads the last one.

    The page polls, because the gallery's live address can't hold a connection.
    """
    data = page_data(context["request"])
    return json_script({**data, "can_hold": False, "urls": {**data["urls"], **urls}}, "telltale-page")
