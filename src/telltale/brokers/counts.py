"""What this process has published and received by its broker: for metrics. See `server/status.py`."""

from collections import Counter
from typing import Final

counts: Final[Counter[str]] = Counter()
"""Messages `published` and `received`, `failed` calls to publish, `gaps` (messages may be lost) and `outages` of the
broker that is listened to. Threads count without a lock: a number may be one too small."""
