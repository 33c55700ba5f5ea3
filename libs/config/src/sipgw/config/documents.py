"""Load documents from YAML: a consistent set, or every problem of every file at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from sipgw.config.document import API_VERSION
from sipgw.config.errors import ConfigError, ConfigProblem
from sipgw.config.explain import did_you_mean, explain
from sipgw.config.misfits import Placed, conflicts, dangling
from sipgw.config.models import KINDS, AnyDocument, BotRoute, SipGateway, SipTrunk
from sipgw.config.scalars import BUILTIN_ECHO
from sipgw.config.secrets import SECRET_KIND, Secret, Secrets, read_secret
from sipgw.config.yaml_source import LocatedDocument, read_documents

# Documents from Kubernetes have these fields beside those of the models.
_SERVER_FIELDS = frozenset({"status"})


@dataclass(frozen=True, slots=True)
class Documents:
    """A gateway's documents; without a SipGateway its defaults hold."""

    gateway: SipGateway
    trunks: tuple[SipTrunk, ...] = ()
    routes: tuple[BotRoute, ...] = ()
    secrets: Secrets = field(default_factory=Secrets)


def load_documents(*sources: Path | str) -> Documents:
    """Read documents: a Path names a file, a str is the YAML text itself. Raises ConfigError."""
    problems: list[ConfigProblem] = []
    placed: list[Placed] = []
    secrets: list[Secret] = []
    for source in sources:
        try:
            text, file = _text_of(source)
            for located in read_documents(text, file):
                try:
                    read = read_document(located)
                    secrets.append(read) if isinstance(read, Secret) else placed.append(read)
                except ConfigError as error:
                    problems += error.problems
        except ConfigError as error:
            problems += error.problems
    known = Secrets.of(secrets)
    trunks = [one.document.metadata.name for one in placed if isinstance(one.document, SipTrunk)]
    misfits = list(conflicts(placed))
    if not problems:  # a document that could not be read may be the target of a reference
        misfits += dangling(placed, trunks, known)
    problems += [misfit.problem for misfit in misfits]
    if problems:
        raise ConfigError(problems)
    return assemble((one.document for one in placed), known)


def builtin_documents(bot_endpoint: str = BUILTIN_ECHO, *, recording_directory: str = "") -> Documents:
    """Return the documents used when there are none: any caller reaches one bot.

    Calls are recorded where there is a directory for it.
    """
    return complete(
        Documents(default_gateway(recording_directory)),
        bot_endpoint,
        record=bool(recording_directory),
    )


def complete(documents: Documents, bot_endpoint: str = BUILTIN_ECHO, *, record: bool = False) -> Documents:
    """Add a trunk for any source, or a route, where there is no document of its kind: for laptops."""
    trunk = _parse("SipTrunk", "any", {})
    route = _parse("BotRoute", "default", {"bots": [{"endpoint": bot_endpoint}], "record": record})
    return replace(
        documents,
        trunks=documents.trunks or (cast("SipTrunk", trunk),),
        routes=documents.routes or (cast("BotRoute", route),),
    )


def default_gateway(recording_directory: str = "") -> SipGateway:
    """Return the gateway with every default."""
    return cast(
        "SipGateway", _parse("SipGateway", "sipgw", {"recording": {"directory": recording_directory}})
    )


def read_document(located: LocatedDocument) -> Placed | Secret:
    """Read a document of a known kind. Raises ConfigError."""
    if not isinstance(located.value, dict):
        problem = ConfigProblem(
            located.file, located.line_of(()), "", "no map", "apiVersion, kind, metadata, spec"
        )
        raise ConfigError([*located.problems, problem])
    value = cast("dict[str, Any]", located.value)
    kind = value.get("kind")
    if kind == SECRET_KIND:
        return read_secret(located)
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
    return Placed(document, located)


def assemble(documents: Iterable[AnyDocument], secrets: Secrets) -> Documents:
    """Return the documents if they fit together, with the default gateway where there is no other."""
    every = list(documents)
    gateways = [one for one in every if isinstance(one, SipGateway)]
    return Documents(
        gateway=gateways[0] if gateways else default_gateway(),
        trunks=tuple(one for one in every if isinstance(one, SipTrunk)),
        routes=tuple(one for one in every if isinstance(one, BotRoute)),
        secrets=secrets,
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
