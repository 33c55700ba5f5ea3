"""The header fields of one message, in order; names are compared without case, unknown ones are kept.

One item is one header line; `values` splits the comma lists of the lines. Compact forms are read as long
ones. Typed readings (`parsed`) are computed once and dropped at the next change.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar, cast

from sipgw.sip.grammar import split_commas

T = TypeVar("T")

COMPACT_FORMS: Final = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
"""Compact form to long name, by RFC 3261 §7.3.3 and the IANA registry."""

_LONG_NAMES: Final = (
    "Accept", "Accept-Contact", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow",
    "Allow-Events", "Authentication-Info", "Authorization", "Call-ID", "Call-Info", "Contact",
    "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Type",
    "CSeq", "Date", "Diversion", "Error-Info", "Event", "Expires", "From", "History-Info", "Identity",
    "Identity-Info", "In-Reply-To", "Max-Forwards", "MIME-Version", "Min-Expires", "Min-SE",
    "Organization", "P-Access-Network-Info", "P-Asserted-Identity", "P-Called-Party-ID",
    "P-Charging-Vector", "P-Preferred-Identity", "Path", "Priority", "Privacy", "Proxy-Authenticate",
    "Proxy-Authorization", "Proxy-Require", "RAck", "Reason", "Record-Route", "Refer-Sub", "Refer-To",
    "Referred-By", "Reject-Contact", "Remote-Party-ID", "Replaces", "Reply-To", "Request-Disposition",
    "Require", "Retry-After", "Route", "RSeq", "Server", "Service-Route", "Session-Expires",
    "Session-ID", "Subject", "Subscription-State", "Supported", "Timestamp", "To", "Unsupported",
    "User-Agent", "Via", "Warning", "WWW-Authenticate",
)  # fmt: skip

NAMES: Final[dict[str, str]] = {
    spelling: name for name in _LONG_NAMES for spelling in (name, name.lower(), name.upper())
}
"""Common spellings to the long name; any other spelling goes through `long_name`."""
for _short, _long in COMPACT_FORMS.items():
    NAMES[_short] = NAMES[_short.upper()] = _long

_KEYS: Final[dict[str, str]] = {spelling: name.lower() for spelling, name in NAMES.items()}


def long_name(name: str) -> str:
    """Return the registered spelling of `name`; an unknown name stays as it is."""
    return NAMES.get(name) or NAMES.get(name.lower(), name)


def _key(name: str) -> str:
    key = _KEYS.get(name)
    if key is None:
        lower = name.lower()
        key = _KEYS.get(lower, lower)
    return key


class Headers:
    """A mutable list of (name, value) lines with look-up by name."""

    __slots__ = ("_index", "_items", "_parsed")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items = [(long_name(name), value) for name, value in items]
        self._index: dict[str, list[str]] | None = None
        self._parsed: dict[str, object] = {}

    @classmethod
    def from_lines(cls, items: list[tuple[str, str]]) -> "Headers":
        """Take over `items`, whose names are long names already."""
        headers = cls()
        headers._items = items
        return headers

    def get(self, name: str) -> str | None:
        """Return the first line of this name."""
        lines = self._lines().get(_KEYS.get(name) or _key(name))
        return lines[0] if lines else None

    def get_all(self, name: str) -> list[str]:
        """Return every line of this name, as it stands: one line may hold several values."""
        return list(self._lines().get(_key(name), ()))

    def values(self, name: str) -> list[str]:
        """Return every value of this name, with comma lists split. Raise SipParseError for an open quote."""
        return [value for line in self._lines().get(_key(name), ()) for value in split_commas(line)]

    def repeated(self) -> list[str]:
        """Return the names, in lower case, that have more than one line."""
        return [key for key, lines in self._lines().items() if len(lines) > 1]

    def add(self, name: str, value: str) -> None:
        """Append a line."""
        self._items.append((long_name(name), value))
        self._changed(_key(name))

    def set(self, name: str, value: str) -> None:
        """Replace the first line of this name and drop its others; append when there is none."""
        key = _key(name)
        items: list[tuple[str, str]] = []
        is_placed = False
        for item in self._items:
            if _key(item[0]) != key:
                items.append(item)
            elif not is_placed:
                items.append((item[0], value))
                is_placed = True
        if not is_placed:
            items.append((long_name(name), value))
        self._items = items
        self._changed(key)

    def replace_first(self, name: str, value: str) -> None:
        """Replace the first line of this name and keep its others; append when there is none."""
        key = _key(name)
        for position, item in enumerate(self._items):
            if _key(item[0]) == key:
                self._items[position] = (item[0], value)
                self._changed(key)
                return
        self.add(name, value)

    def remove(self, name: str) -> None:
        """Drop every line of this name, if any."""
        key = _key(name)
        self._items = [item for item in self._items if _key(item[0]) != key]
        self._changed(key)

    def items(self) -> list[tuple[str, str]]:
        """Return the lines in order."""
        return list(self._items)

    def copy(self) -> "Headers":
        """Return an independent copy."""
        return Headers.from_lines(list(self._items))

    def parsed(self, what: str, parse: "Callable[[Headers], T]") -> T:
        """Return `parse(self)`, computed once until a line of the header it reads changes.

        `what` names the reading: the header in lower case, or that and `:variant`.
        """
        try:
            return cast("T", self._parsed[what])
        except KeyError:
            value = parse(self)
            self._parsed[what] = value
            return value

    def _lines(self) -> dict[str, list[str]]:
        index = self._index
        if index is None:
            index = self._index = {}
            for name, value in self._items:
                key = _KEYS.get(name) or name.lower()
                lines = index.get(key)
                if lines is None:
                    index[key] = [value]
                else:
                    lines.append(value)
        return index

    def _changed(self, key: str) -> None:
        self._index = None
        if self._parsed:
            self._parsed = {
                what: value for what, value in self._parsed.items() if what.partition(":")[0] != key
            }

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._lines()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(_key(n), v) for n, v in self._items] == [(_key(n), v) for n, v in other._items]

    __hash__ = None  # pyright: ignore[reportAssignmentType] - mutable

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"
