"""Documents that are correct alone but conflict: duplicate names, dangling references, ambiguous trunks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sipgw.config.errors import ConfigProblem
from sipgw.config.explain import did_you_mean
from sipgw.config.models import AnyDocument, BotRoute, SipGateway, SipTrunk
from sipgw.config.secrets import Secrets
from sipgw.config.yaml_source import LocatedDocument, Path


@dataclass(frozen=True, slots=True)
class Placed:
    """A document and where it was found."""

    document: AnyDocument
    source: LocatedDocument

    @property
    def key(self) -> tuple[str, str]:
        return self.document.kind, self.document.metadata.name

    def problem(self, path: Path, field: str, found: str, allowed: str, hint: str = "") -> ConfigProblem:
        """Describe a problem of this document."""
        return ConfigProblem(self.source.file, self.source.line_of(path), field, found, allowed, hint)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A problem of a document that others cause. With ``is_usable`` the rest of it can serve."""

    placed: Placed
    problem: ConfigProblem
    is_usable: bool = False


def conflicts(placed: Sequence[Placed]) -> Iterator[Misfit]:
    """Yield documents that another one replaces; the earlier in the sequence holds."""
    yield from _repeated_names(placed)
    yield from _second_gateways(placed)
    yield from _repeated_usernames(placed)
    yield from _open_beside_digest(placed)


def dangling(placed: Sequence[Placed], trunks: Sequence[str], secrets: Secrets) -> Iterator[Misfit]:
    """Yield references to documents that do not exist."""
    for one in placed:
        match one.document:
            case BotRoute() as route:
                yield from _unknown_trunks(one, route, trunks)
            case SipTrunk() as trunk:
                yield from _missing_secret(one, trunk, secrets)
            case SipGateway():
                pass


def _repeated_names(placed: Sequence[Placed]) -> Iterator[Misfit]:
    first: dict[tuple[str, str], Placed] = {}
    for one in placed:
        before = first.setdefault(one.key, one)
        if before is not one:
            where = f"{before.source.file}:{before.source.line_of(('metadata', 'name'))}"
            found = f"a second {one.key[0]} {one.key[1]!r}"
            path = ("metadata", "name")
            yield Misfit(one, one.problem(path, "metadata.name", found, f"each name once (first in {where})"))


def _second_gateways(placed: Sequence[Placed]) -> Iterator[Misfit]:
    gateways = [one for one in placed if isinstance(one.document, SipGateway)]
    for extra in gateways[1:]:
        if extra.key != gateways[0].key:
            allowed = f"one SipGateway ({gateways[0].key[1]} is there)"
            yield Misfit(extra, extra.problem(("kind",), "kind", "a second SipGateway", allowed))


def _repeated_usernames(placed: Sequence[Placed]) -> Iterator[Misfit]:
    first: dict[str, Placed] = {}
    for one, trunk in _trunks(placed):
        if trunk.spec.auth is None:
            continue
        username = trunk.spec.auth.digest.username
        before = first.setdefault(username, one)
        if before.key != one.key:
            path = ("spec", "auth", "digest", "username")
            found = f"{username!r}, which SipTrunk {before.key[1]} has"
            yield Misfit(one, one.problem(path, "spec.auth.digest.username", found, "each user name once"))


def _open_beside_digest(placed: Sequence[Placed]) -> Iterator[Misfit]:
    """Yield trunks for any source beside trunks with digest.

    Such a trunk would take the calls that are to be challenged.
    """
    challenged = [one.key[1] for one, trunk in _trunks(placed) if trunk.spec.auth is not None]
    for one, trunk in _trunks(placed):
        if challenged and trunk.spec.auth is None and not trunk.spec.source_cidrs:
            found = f"none, beside SipTrunk {challenged[0]} with auth, whose calls it would take"
            yield Misfit(one, one.problem(("spec",), "spec.sourceCidrs", found, "sourceCidrs or auth"))


def _unknown_trunks(placed: Placed, route: BotRoute, trunks: Sequence[str]) -> Iterator[Misfit]:
    for index, name in enumerate(route.spec.match.trunks):
        if name not in trunks:
            problem = placed.problem(
                ("spec", "match", "trunks", index),
                f"spec.match.trunks[{index}]",
                f"{name!r}, no SipTrunk of these documents",
                ", ".join(trunks) or "no name, since there is no SipTrunk",
                did_you_mean(name, list(trunks)),
            )
            yield Misfit(placed, problem, is_usable=True)


def _missing_secret(placed: Placed, trunk: SipTrunk, secrets: Secrets) -> Iterator[Misfit]:
    if trunk.spec.auth is None:
        return
    try:
        secrets.password(trunk.spec.auth.digest.secret_ref)
    except KeyError as error:
        path = ("spec", "auth", "digest", "secretRef")
        allowed = "a Secret and a key of it that holds the password"
        yield Misfit(placed, placed.problem(path, "spec.auth.digest.secretRef", str(error.args[0]), allowed))


def _trunks(placed: Sequence[Placed]) -> Iterator[tuple[Placed, SipTrunk]]:
    for one in placed:
        if isinstance(one.document, SipTrunk):
            yield one, one.document
