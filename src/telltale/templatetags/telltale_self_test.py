"""The template tag of the self-test: its data and its module."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString

from telltale.templatetags.telltale import nonce_attribute

register = template.Library()


@register.simple_tag(takes_context=True)
def telltale_self_test(context: template.Context, data: Mapping[str, Any]) -> SafeString:
    """Return the data block and the script of the page."""
    return json_script(data, "telltale-self-test") + format_html(
        '<script type="module" src="{}"{}></script>',
        static("telltale/self-test.js"),
        nonce_attribute(context, context["request"]),
    )
