"""Prints tickets, one a line, each for a follower of its own.

`python -m benchmarks.site.tickets FOLLOWERS TOPICS WHAT`: WHAT is a kind, and follower i follows the topic
of that kind with the number i modulo TOPICS; or it is one topic for all.
"""

import sys

import django

django.setup()

from telltale.live.tickets import issue  # noqa: E402  (the signature needs the settings)

TTL_S = 3_600.0


def main() -> None:
    """See the module."""
    followers, topics, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for number in range(followers):
        topic = kind if ":" in kind else f"{kind}:tab{number % topics:05}"
        print(issue([topic], follower=f"user:{number}", ttl_s=TTL_S))


if __name__ == "__main__":
    main()
