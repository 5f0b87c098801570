"""Importing airports and measuring the globe: the work that the demo shows the progress of."""
