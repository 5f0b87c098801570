"""Prints tickets, one per line, each for a different follower.

    python -m benchmarks.contenders.telltale_site.tickets FOLLOWERS TOPICS KIND

Follower i follows the topic of this KIND with the number i modulo TOPICS. If KIND contains a colon, it is one topic
that all of them follow.
"""

import sys

import django

django.setup()

from telltale.live.tickets import issue  # noqa: E402  (the signature needs the settings)

TTL_S = 3_600.0


def main() -> None:
    """Print the tickets."""
    followers, topics, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for number in range(followers):
        topic = kind if ":" in kind else f"{kind}:tab{number % topics:05}"
        print(issue([topic], follower=f"user:{number}", ttl_s=TTL_S))


if __name__ == "__main__":
    main()
