"""v1/Secret documents, which hold the passwords of trunks. No message or repr shows a value."""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from sipgw.config.errors import ConfigError, ConfigProblem
from sipgw.config.sip_trunk import SecretReference
from sipgw.config.yaml_source import LocatedDocument, Path, dotted

SECRET_KIND = "Secret"
MAX_PASSWORD_BYTES = 256
_HIDDEN = "a value (not shown)"


@dataclass(frozen=True, slots=True)
class Secret:
    """One Secret's values by key."""

    name: str
    values: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secrets:
    """All Secrets by name."""

    by_name: Mapping[str, Secret] = field(default_factory=dict[str, Secret], repr=False)

    @classmethod
    def of(cls, secrets: Iterable[Secret]) -> "Secrets":
        """Collect Secrets by name."""
        return cls({secret.name: secret for secret in secrets})

    def password(self, reference: SecretReference) -> bytes:
        """Return the password. Raises KeyError, whose text names the missing Secret or key."""
        secret = self.by_name.get(reference.name)
        if secret is None:
            raise KeyError(f"{reference.name!r}, but no such Secret exists")
        if reference.key not in secret.values:
            raise KeyError(f"key {reference.key!r}, which Secret {reference.name!r} does not have")
        password = secret.values[reference.key]
        if not 1 <= len(password) <= MAX_PASSWORD_BYTES or b"\n" in password or b"\0" in password:
            raise KeyError(f"a value of {len(password)} bytes that is no password")
        return password


def read_secret(document: LocatedDocument) -> Secret:
    """Read ``data`` in base64 and ``stringData`` as plain text, which wins. Raises ConfigError."""
    value = cast("dict[str, Any]", document.value)
    problems: list[ConfigProblem] = list(document.problems)
    if value.get("apiVersion") != "v1":
        problems.append(_problem(document, ("apiVersion",), repr(value.get("apiVersion")), "v1"))
    metadata = value.get("metadata")
    name = cast("dict[str, Any]", metadata).get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        problems.append(_problem(document, ("metadata", "name"), "nothing", "the name of a Secret"))
    values: dict[str, bytes] = {}
    for part, decode in (("data", _from_base64), ("stringData", _from_text)):
        for key, entry in _entries(value.get(part), document, part, problems):
            decoded = decode(entry)
            if decoded is None:
                allowed = "base64" if part == "data" else "text (in quotes)"
                problems.append(_problem(document, (part, key), _HIDDEN, allowed))
            else:
                values[key] = decoded
    if problems:
        raise ConfigError(problems)
    return Secret(str(name), values)


def _entries(
    part: object, document: LocatedDocument, name: str, problems: list[ConfigProblem]
) -> Iterator[tuple[str, object]]:
    if isinstance(part, dict):
        yield from cast("dict[str, object]", part).items()
    elif part is not None:
        problems.append(_problem(document, (name,), _HIDDEN, "a map"))


def _from_base64(value: object) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except binascii.Error:
        return None


def _from_text(value: object) -> bytes | None:
    return value.encode() if isinstance(value, str) else None


def _problem(document: LocatedDocument, path: Path, found: str, allowed: str) -> ConfigProblem:
    return ConfigProblem(document.file, document.line_of(path), dotted(path), found, allowed)
