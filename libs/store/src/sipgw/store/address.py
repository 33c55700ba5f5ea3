"""A Redis URL as people write it: its source, its credentials, and its printable form.

The password may stand in a file of its own (`?password_file=PATH`), unescaped. The file is read again at each
connection, so a changed password needs no restart. `file:///PATH` names a file with the whole URL; its user
and password are read again likewise.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from sipgw.store.driver import CredentialProvider
from sipgw.store.errors import StoreUrlError

SCHEMES: Final = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)
_PASSWORD_FILE: Final = "password_file"
_ENCODE: Final = (
    "in a user or password / is written %2F, ? %3F, # %23, @ %40, [ %5B, ] %5D and % %25; "
    "or ?password_file=PATH names a file that holds the password as it is"
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A URL taken apart; `parts` has no user, password or `password_file`."""

    parts: SplitResult
    username: str = ""
    password: str = ""
    password_file: Path | None = None

    @property
    def url(self) -> str:
        """The URL without credentials."""
        return self.parts.geturl()

    def credentials(self) -> tuple[str] | tuple[str, str] | None:
        """Return the arguments of AUTH.

        None for no AUTH. Raises OSError and UnicodeDecodeError for the password's file.
        """
        password = self.password
        if self.password_file is not None:
            password = self.password_file.read_bytes().decode()
        if self.username:
            return self.username, password
        return (password,) if password else None


class Credentials(CredentialProvider):
    """The credentials of the URL as it is now, read for each connection."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get_credentials(self) -> Any:
        """Return a tuple for AUTH, or None. Raises OSError; the link then tries again later."""
        try:
            return read_address(self._url).credentials()
        except ValueError as error:
            raise OSError(str(error)) from error

    async def get_credentials_async(self) -> Any:
        """Return the same as `get_credentials`."""
        return self.get_credentials()


def read_address(url: str) -> RedisAddress:
    """Take `url` apart, or the URL in the file that it names.

    Raises StoreUrlError, whose text shows no password.
    """
    if url.startswith("file:"):
        url = _read_file(url)
    shown = without_password(url)
    try:
        parts = urlsplit(url)
    except ValueError:  # the error's text may quote the password
        raise StoreUrlError(f"{shown!r} is not a Redis URL: {_ENCODE}") from None
    if parts.scheme not in SCHEMES:
        allowed = ", ".join(SCHEMES)
        raise StoreUrlError(
            f"{shown!r} is not a Redis URL: scheme {parts.scheme!r}; allowed: {allowed}, file"
        )
    has_stray_at = parts.scheme != "unix" and "@" in f"{parts.path}{parts.query}"
    if has_stray_at or parts.fragment or (parts.scheme != "unix" and parts.netloc.endswith(":")):
        raise StoreUrlError(f"{shown!r} is not a Redis URL: {_ENCODE}")
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    address = RedisAddress(parts._replace(netloc=hosts), unquote(username), unquote(password))
    return _with_password_file(address, shown)


def without_password(url: str) -> str:
    """Return `url` for logs and errors, without everything before its last @."""
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{'***@' if at and credentials else ''}{host}"


def _read_file(url: str) -> str:
    path = Path(unquote(urlsplit(url).path))
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUrlError(f"{url}: {error}") from error


def _with_password_file(address: RedisAddress, shown: str) -> RedisAddress:
    options = parse_qsl(address.parts.query, keep_blank_values=True)
    paths = [value for name, value in options if name == _PASSWORD_FILE]
    if not paths:
        return address
    if address.password:
        raise StoreUrlError(f"{shown!r} has a password and a {_PASSWORD_FILE}: give only one of them")
    path = Path(paths[-1])
    try:
        path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUrlError(f"{_PASSWORD_FILE} of {shown!r}: {error}") from error
    rest = urlencode([(name, value) for name, value in options if name != _PASSWORD_FILE])
    return replace(address, parts=address.parts._replace(query=rest), password_file=path)
