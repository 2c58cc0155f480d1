"""Who may use the server: a token, its cookie, and the names under which the server may be addressed. Standard library only."""

import errno
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from assetforge.errors import BusyError, UsageError

__all__ = ["Gate", "is_loopback", "listen", "new_token", "token_from_file"]

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,256}")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound


def new_token() -> str:
    """A token of 256 random bits."""
    return secrets.token_urlsafe(32)


def token_from_file(path: Path) -> str:
    """The token in a file that only its owner can read; a file that is not there is made, with a new token.

    Raises:
        UsageError: Others can read the file, it cannot be read or made, or it holds no token.
    """
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            token = new_token()
            file.write(token + "\n")
            return token
    except FileExistsError:
        return _token_read(path)
    except OSError as error:
        raise UsageError(f"The token file {path} cannot be made: {error.strerror}.") from error


def _token_read(path: Path) -> str:
    try:
        # Asked of the opened file, so that nobody can put another one in its place in between.
        with path.open("rb") as file:
            known = os.fstat(file.fileno())
            content = file.read(1024)
    except OSError as error:
        raise UsageError(f"The token file {path} cannot be read: {error.strerror}.") from error
    if os.name == "posix" and known.st_uid != os.geteuid():
        raise UsageError(f"The token file {path} belongs to somebody else.", hint="Name a file of your own.")
    if os.name == "posix" and stat.S_IMODE(known.st_mode) & 0o077:
        raise UsageError(
            f"The token file {path} can be read or changed by others.", hint=f"`chmod 600 {path}` makes it yours alone."
        )
    token = content.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            f"{path} holds no token: one line of 32 to 256 letters, digits, - and _.",
            hint="Name a file that is not there yet, and one with a new token is made.",
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on an address."""
    return ipaddress.ip_address(host).is_loopback


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; connections wait in it until somebody serves them.

    Args:
        host: Name or address of this machine.
        port: 0 takes a free one.

    Raises:
        BusyError: Something else listens there.
        UsageError: There is no such address here, or the port is not allowed.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"{port} is no port.", hint="Ports go from 0, which takes a free one, to 65535.")
    # The name may mean two addresses, and each would get a free port of its own.
    wanted = "127.0.0.1" if host == "localhost" else host
    try:
        family, _kind, _protocol, _name, address = socket.getaddrinfo(wanted, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"There is no address {host!r}.", hint="127.0.0.1 is this machine alone.") from error
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(64)
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        if isinstance(error, PermissionError):
            raise UsageError(f"Port {port} is not allowed: {reason}.", hint="Take one above 1023.") from error
        if error.errno == errno.EADDRINUSE:
            raise BusyError(f"Port {port} is taken by another program.", hint="`--port 0` takes a free one.") from error
        raise UsageError(f"{host} cannot be listened on: {reason}.", hint="127.0.0.1 is this machine alone.") from error
    return listening


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides about a request from what stands in its head.

    Attributes:
        token: What the address carries once.
        names: Names and addresses, in lower case, that ``Host`` may say.
        any_address: ``Host`` may say any numeric address, since the server listens on all of this machine.
    """

    token: str
    names: frozenset[str]
    any_address: bool = False

    @classmethod
    def for_socket(cls, token: str, listening: socket.socket, host: str) -> "Gate":
        """The gate of a server that listens there.

        Args:
            token: Its token.
            listening: From :func:`listen`.
            host: What the user called the address.
        """
        address = str(listening.getsockname()[0])
        everywhere = address in _EVERYWHERE
        names = {"localhost", host.lower(), _in_url(address), *([socket.gethostname().lower()] if everywhere else [])}
        return cls(token, frozenset(names), any_address=everywhere)

    def address(self, bound: str, port: int) -> str:
        """Where a browser finds the server.

        Args:
            bound: The address that the socket has.
            port: Its port.
        """
        return f"http://{socket.gethostname() if self.any_address else _in_url(bound)}:{port}"

    def knows(self, host: str) -> bool:
        """Whether the ``Host`` of a request is ours; a foreign name on our address is an attack by a web page (DNS rebinding)."""
        found = _HOST.fullmatch(host.lower())
        if found is None:
            return False
        name = found[1]
        return name in self.names or (self.any_address and _is_address(name))

    @staticmethod
    def same_origin(origin: str, host: str) -> bool:
        """Whether a page that the browser got under ``host`` asks."""
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")

    def opens(self, token: str) -> bool:
        """Whether a token is the right one."""
        return _equal(token, self.token)

    def remembers(self, cookie: str) -> bool:
        """Whether a cookie is the one that the right token was exchanged for."""
        return _equal(cookie, self.cookie)

    @property
    def cookie(self) -> str:
        """What the browser keeps; the token cannot be found from it."""
        return hmac.new(self.token.encode(), b"assetforge serve: cookie", hashlib.sha256).hexdigest()

    @staticmethod
    def cookie_name(host: str) -> str:
        """Cookies do not know ports, so their name does: the port that the browser sees, also through a forwarded one."""
        found = _HOST.fullmatch(host.lower())
        return f"assetforge-{(found and found[2]) or '80'}"


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
