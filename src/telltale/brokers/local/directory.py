"""The private directory of the local broker's sockets: its path, its content, and whether it can be trusted.

Knows files, owners and modes; knows nothing of messages. Everyone with access to the directory may send and
listen, so a directory that other users could enter or replace is refused.
"""

import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from telltale import conf
from telltale.brokers.base import BrokerUnavailable

_PARENT: Final = Path("/tmp")  # noqa: S108 (the directory in it is private, or it is refused)

PATH_BYTES: Final = 103
"""The longest path of a socket that all platforms take (Linux takes 107)."""

_SUFFIX: Final = ".sock"
_NAME_BYTES: Final = len("/01234567") + len(_SUFFIX)


def default_path() -> Path:
    """A directory for this user, secret key and database, below `shared_parent`.

    Only processes that share a database share a directory, so a site and its tests or copies stay apart.
    """
    alias = conf.settings().database
    name = django_settings.DATABASES.get(alias, {}).get("NAME", "")
    site = salted_hmac("telltale.brokers.local", str(name), algorithm="sha256").hexdigest()[:12]
    return shared_parent() / f"telltale-{os.geteuid()}-{site}"


def shared_parent() -> Path:
    """The directory below which all processes of a user look, whatever their environment.

    `XDG_RUNTIME_DIR` and `TMPDIR` often differ between a service and a shell, or a worker and a web server.
    """
    return _PARENT if _PARENT.is_dir() else Path(tempfile.gettempdir())


class SocketDirectory:
    """A directory of sockets, one for each listener."""

    def __init__(self, path: Path, *, is_removed: bool = False) -> None:
        """`is_removed`: whether the last listener removes it."""
        if not path.is_absolute() or len(os.fsencode(path)) + _NAME_BYTES > PATH_BYTES:
            raise ImproperlyConfigured(
                f"The local broker's directory is {str(path)!r}: it must be an absolute path of at most "
                f"{PATH_BYTES - _NAME_BYTES} bytes. Choose one: TELLTALE['BROKER'] = 'local:///run/mysite'."
            )
        self.path = path
        self._is_removed = is_removed

    def create(self) -> None:
        """Create the directory unless it exists; raises `BrokerUnavailable` if that fails or it isn't trusted."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise BrokerUnavailable(
                f"The local broker's directory {self.path} can't be created: {error.strerror}. Create it yourself, "
                "with the site's user as its owner and mode 0700, or choose another: "
                "TELLTALE['BROKER'] = 'local:///…'."
            ) from error
        self.version()

    def remove_if_empty(self) -> None:
        """Remove the directory if no listener uses it any more, unless its creator is to keep it."""
        if self._is_removed:
            with suppress(OSError):
                self.path.rmdir()

    def version(self) -> tuple[int, int] | None:
        """(inode, time of the last change in ns), which differs after a socket was added or removed.

        None if the directory does not exist. Raises `BrokerUnavailable` if it can't be trusted.
        """
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BrokerUnavailable(
                f"The local broker's directory {self.path} can't be read: {error.strerror}."
            ) from error
        self._check_trust(status)
        return status.st_ino, status.st_mtime_ns

    def socket_names(self) -> set[str]:
        """The names of all listeners' sockets; other files are ignored, also links."""
        with os.scandir(self.path) as entries:
            return {
                entry.name
                for entry in entries
                if entry.name.endswith(_SUFFIX) and stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
            }

    def new_socket_path(self) -> Path:
        """A random path for a new socket, never that of an earlier socket."""
        return self.path / f"{secrets.token_hex(4)}{_SUFFIX}"

    def _check_trust(self, status: os.stat_result) -> None:
        if not stat.S_ISDIR(status.st_mode):
            problem = "is a link or a file, not a directory"
        elif status.st_uid != os.geteuid():
            problem = f"belongs to the user {status.st_uid}, but this process runs as {os.geteuid()}"
        elif status.st_mode & 0o077:
            problem = f"has mode {stat.S_IMODE(status.st_mode):04o}, so other users may enter it; it needs 0700"
        else:
            return
        raise BrokerUnavailable(
            f"The local broker's directory {self.path} {problem}. Remove it or correct it (chmod 700), or choose "
            "another that only this site uses: TELLTALE['BROKER'] = 'local:///run/mysite'."
        )
