"""The browser of `tests/browser`. A test module with pages defines its own `site`, which has a `url`."""

from tests.browser.conftest import browser, open_context, page

__all__ = ["browser", "open_context", "page"]
