"""The servers under test, one small class each. `peer_apps/` and `telltale_site/` are what their processes run."""
