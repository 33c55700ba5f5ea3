"""Documents from YAML: every problem of every file at once, or a set that fits together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from sipgw.config.errors import ConfigError, ConfigProblem
from sipgw.config.explain import did_you_mean, explain
from sipgw.config.models import API_VERSION, BUILTIN_ECHO, KINDS, BotRoute, SipGateway, SipTrunk
from sipgw.config.yaml_source import LocatedDocument, read_documents

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

AnyDocument = SipGateway | SipTrunk | BotRoute

# All kinds of document that come from Kubernetes have these beside the fields of the models.
_SERVER_FIELDS = frozenset({"status"})


@dataclass(frozen=True, slots=True)
class Documents:
    """A gateway's documents; without a SipGateway its defaults hold."""

    gateway: SipGateway
    trunks: tuple[SipTrunk, ...] = ()
    routes: tuple[BotRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class _Placed:
    document: AnyDocument
    source: LocatedDocument

    def problem(
        self, path: tuple[str | int, ...], field: str, found: str, allowed: str, hint: str = ""
    ) -> ConfigProblem:
        return ConfigProblem(self.source.file, self.source.line_of(path), field, found, allowed, hint)


def load_documents(*sources: Path | str) -> Documents:
    """Reads documents: a Path names a file, a str is the YAML text itself. Raises ConfigError."""
    problems: list[ConfigProblem] = []
    placed: list[_Placed] = []
    for source in sources:
        try:
            text, file = _text_of(source)
            for located in read_documents(text, file):
                try:
                    placed.append(_validate(located))
                except ConfigError as error:
                    problems += error.problems
        except ConfigError as error:
            problems += error.problems
    problems += _misfits(placed, complete=not problems)
    if problems:
        raise ConfigError(problems)
    return _assemble([one.document for one in placed])


def builtin_documents(bot_endpoint: str = BUILTIN_ECHO, *, recording_directory: str = "") -> Documents:
    """What holds with no document: calls from anywhere go to one bot, recorded where there is a directory."""
    return complete(
        Documents(default_gateway(recording_directory)),
        bot_endpoint,
        record=bool(recording_directory),
    )


def complete(documents: Documents, bot_endpoint: str = BUILTIN_ECHO, *, record: bool = False) -> Documents:
    """Adds what a laptop can do without: a trunk for any source, a route, where there is none of its kind."""
    trunk = _parse("SipTrunk", "any", {})
    route = _parse("BotRoute", "default", {"bots": [{"endpoint": bot_endpoint}], "record": record})
    return replace(
        documents,
        trunks=documents.trunks or (cast("SipTrunk", trunk),),
        routes=documents.routes or (cast("BotRoute", route),),
    )


def default_gateway(recording_directory: str = "") -> SipGateway:
    """The gateway with every default."""
    return cast(
        "SipGateway", _parse("SipGateway", "sipgw", {"recording": {"directory": recording_directory}})
    )


def _parse(kind: str, name: str, spec: dict[str, Any]) -> AnyDocument:
    return KINDS[kind].model_validate(
        {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    )


def _text_of(source: Path | str) -> tuple[str, str]:
    if isinstance(source, str):
        return source, "<text>"
    try:
        return source.read_text("utf-8"), str(source)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([ConfigProblem(str(source), 0, "", f"{error}", "a file of UTF-8 text")]) from error


def _validate(located: LocatedDocument) -> _Placed:
    """The document of a kind. Raises ConfigError."""
    if not isinstance(located.value, dict):
        problem = ConfigProblem(
            located.file, located.line_of(()), "", "no map", "apiVersion, kind, metadata, spec"
        )
        raise ConfigError([*located.problems, problem])
    value = cast("dict[str, Any]", located.value)
    kind = value.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        found, hint = ("nothing", "") if kind is None else (repr(kind), did_you_mean(str(kind), list(KINDS)))
        problem = ConfigProblem(
            located.file, located.line_of(("kind",)), "kind", found, ", ".join(KINDS), hint
        )
        raise ConfigError([*located.problems, problem])
    try:
        document = model.model_validate({key: one for key, one in value.items() if key not in _SERVER_FIELDS})
    except ValidationError as error:
        raise ConfigError([*located.problems, *explain(error, model, located)]) from error
    if located.problems:
        raise ConfigError(located.problems)
    return _Placed(document, located)


def _misfits(placed: list[_Placed], *, complete: bool) -> Iterable[ConfigProblem]:
    """What is right by itself but not together; references only when all documents could be read."""
    first: dict[tuple[str, str], _Placed] = {}
    gateways = [one for one in placed if isinstance(one.document, SipGateway)]
    for one in placed:
        key = (one.document.kind, one.document.metadata.name)
        if key in first:
            before = first[key].source
            where = f"{before.file}:{before.line_of(('metadata', 'name'))}"
            found = f"a second {key[0]} {key[1]!r}"
            yield one.problem(
                ("metadata", "name"), "metadata.name", found, f"each name once (first in {where})"
            )
        first.setdefault(key, one)
    for extra in gateways[1:]:
        if extra.document.metadata.name != gateways[0].document.metadata.name:
            yield extra.problem(("kind",), "kind", "a second SipGateway", "one SipGateway")
    if complete:
        trunks = [name for kind, name in first if kind == "SipTrunk"]
        for one in placed:
            if isinstance(one.document, BotRoute):
                yield from _unknown_trunks(one, one.document, trunks)


def _unknown_trunks(placed: _Placed, route: BotRoute, trunks: list[str]) -> Iterable[ConfigProblem]:
    for index, name in enumerate(route.spec.match.trunks):
        if name not in trunks:
            yield placed.problem(
                ("spec", "match", "trunks", index),
                f"spec.match.trunks[{index}]",
                f"{name!r}, no SipTrunk of these documents",
                ", ".join(trunks) or "no name, since there is no SipTrunk",
                did_you_mean(name, trunks),
            )


def _assemble(documents: list[AnyDocument]) -> Documents:
    gateways = [one for one in documents if isinstance(one, SipGateway)]
    return Documents(
        gateway=gateways[0] if gateways else default_gateway(),
        trunks=tuple(one for one in documents if isinstance(one, SipTrunk)),
        routes=tuple(one for one in documents if isinstance(one, BotRoute)),
    )
