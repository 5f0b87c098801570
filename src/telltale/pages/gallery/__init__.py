"""The gallery: every state of the elements on one page, for development (`DEBUG`)."""
