"""The private directory in which the local broker's sockets lie: where it is, and whether it can be trusted.

Knows files, owners and modes; knows nothing of what is sent. Whoever may enter the directory may send and
listen, so one that others could enter or exchange is refused.
"""

import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from telltale import conf
from telltale.brokers.base import BrokerUnavailable

PATH_BYTES: Final = 103
"""Upper bound of a socket's path: the smallest among the platforms (Linux takes 107)."""

_SUFFIX: Final = ".sock"
_NAME_BYTES: Final = len("/01234567") + len(_SUFFIX)


def default_path() -> Path:
    """Below the user's runtime directory, else the temporary one; apart for each user, secret key and database.

    Processes that share a database share a directory, so a site's tests and its copies don't hear each other.
    """
    alias = conf.settings().database
    name = django_settings.DATABASES.get(alias, {}).get("NAME", "")
    site = salted_hmac("telltale.brokers.local", str(name), algorithm="sha256").hexdigest()[:12]
    parent = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(parent) / f"telltale-{os.geteuid()}-{site}"


class Directory:
    """One directory of sockets."""

    def __init__(self, path: Path) -> None:
        if not path.is_absolute() or len(os.fsencode(path)) + _NAME_BYTES > PATH_BYTES:
            raise ImproperlyConfigured(
                f"The local broker's directory is {str(path)!r}: it must be an absolute path of at most "
                f"{PATH_BYTES - _NAME_BYTES} bytes. Choose one: TELLTALE['BROKER'] = 'local:///run/mysite'."
            )
        self.path = path

    def prepare(self) -> None:
        """Create it if it isn't there; raises `BrokerUnavailable` if it can't be, or can't be trusted."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise BrokerUnavailable(
                f"The local broker's directory {self.path} can't be made: {error.strerror}. Make it yourself, with "
                "the site's user as its owner and mode 0700, or choose another: TELLTALE['BROKER'] = 'local:///…'."
            ) from error
        self.version()

    def version(self) -> tuple[int, int] | None:
        """(inode, time of the last change in ns), which differs after a socket came or went.

        None if there is no such directory. Raises `BrokerUnavailable` if it can't be trusted.
        """
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BrokerUnavailable(
                f"The local broker's directory {self.path} can't be looked at: {error.strerror}."
            ) from error
        self._trust(found)
        return found.st_ino, found.st_mtime_ns

    def sockets(self) -> set[str]:
        """The names of all listeners' sockets; what else lies there is left alone, links too."""
        with os.scandir(self.path) as entries:
            return {
                entry.name
                for entry in entries
                if entry.name.endswith(_SUFFIX) and stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
            }

    def fresh_name(self) -> Path:
        """Where a new socket may be bound; never used before, so a dead one's place is never taken."""
        return self.path / f"{secrets.token_hex(4)}{_SUFFIX}"

    def _trust(self, found: os.stat_result) -> None:
        if not stat.S_ISDIR(found.st_mode):
            wrong = "is a link or a file, not a directory"
        elif found.st_uid != os.geteuid():
            wrong = f"belongs to the user {found.st_uid}, not to {os.geteuid()} who runs this process"
        elif found.st_mode & 0o077:
            wrong = f"has mode {stat.S_IMODE(found.st_mode):04o}, so others may enter it; it needs 0700"
        else:
            return
        raise BrokerUnavailable(
            f"The local broker's directory {self.path} {wrong}. Remove it or mend it (chmod 700), or choose another "
            "that is the site's alone: TELLTALE['BROKER'] = 'local:///run/mysite'."
        )
