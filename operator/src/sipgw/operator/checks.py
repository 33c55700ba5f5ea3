"""Checks, pure: from custom resources to the config that should be in force and a verdict on each.

An unusable document affects no other: its last good version, from the registry's present config, keeps
serving until it is corrected or deleted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sipgw.api.config.v1.config_pb2 import GatewayConfig
from sipgw.config import ConfigProblem, Documents, SealKey, compile_config, complete, documents_from_objects
from sipgw.config.matching import shadowed_routes
from sipgw.operator.resources.documents import ObjectKey, key_of
from sipgw.operator.resources.json_parts import Json

MAX_MESSAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one document. `keeps_last_good`: an earlier version of it serves instead."""

    is_accepted: bool
    reason: str
    message: str
    keeps_last_good: bool = False
    is_resolved: bool = True
    """False: it serves, except for references to missing objects."""
    shadowed_by: str = ""
    """The earlier route that takes all calls of this one."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The config that should be in force. `documents.gateway` is the default where none was accepted."""

    config: GatewayConfig
    documents: Documents
    verdicts: Mapping[ObjectKey, Verdict]
    has_gateway: bool


def check(
    objects: Sequence[Json],
    secrets: Sequence[Json],
    *,
    present: GatewayConfig | None,
    seal_key: SealKey,
    addresses: Mapping[str, str] | None = None,
) -> Checked:
    """Check `objects`, all SipGateways, SipTrunks and BotRoutes, against the config in force, `present`."""
    documents, problems = documents_from_objects([*objects, *secrets])
    served = _served(documents, objects, problems)
    verdicts = {
        key: _verdict(key, problems.get(key, ()), is_serving=key in served) for key in map(key_of, objects)
    }
    kept = [
        key
        for key, verdict in verdicts.items()
        if not verdict.is_accepted and _is_wrong_by_itself(key, objects, secrets)
    ]
    documents = _with_defaults(documents, objects)
    config = compile_config(documents, seal_key=seal_key, addresses=addresses)
    for key in _keep_last_good(config, present, kept):
        message = f"{verdicts[key].message}; the last good version keeps serving"
        verdicts[key] = replace(verdicts[key], message=message, keeps_last_good=True)
    for name, first in shadowed_routes(config).items():
        key = ("BotRoute", name)
        if key in verdicts:
            verdicts[key] = replace(verdicts[key], shadowed_by=first)
    has_gateway = any(kind == "SipGateway" for kind, _ in served)
    return Checked(config, documents, verdicts, has_gateway)


def differs(config: GatewayConfig, present: GatewayConfig | None) -> bool:
    """Return whether putting `config` would change anything."""
    if present is None:
        return True
    bare = GatewayConfig()
    bare.CopyFrom(present)
    bare.ClearField("epoch")
    bare.ClearField("version")
    return bare.SerializeToString(deterministic=True) != config.SerializeToString(deterministic=True)


def say(problems: Sequence[ConfigProblem]) -> str:
    """Describe a problem for a condition: the field, the value found, the values allowed."""
    lines = [
        f"{problem.field or 'document'}: found {problem.found}; allowed: {problem.allowed}"
        + (f" ({problem.hint})" if problem.hint else "")
        for problem in problems
    ]
    return "; ".join(lines)[:MAX_MESSAGE]


def _served(
    documents: Documents, objects: Sequence[Json], problems: Mapping[ObjectKey, object]
) -> set[ObjectKey]:
    """Return the objects that are in the documents; their gateway may be the default one."""
    gateways = {key_of(body) for body in objects if body["kind"] == "SipGateway"} - set(problems)
    return gateways | {(one.kind, one.metadata.name) for one in (*documents.trunks, *documents.routes)}


def _verdict(key: ObjectKey, problems: Sequence[ConfigProblem], *, is_serving: bool) -> Verdict:
    if not problems:
        return Verdict(is_accepted=True, reason="Accepted", message="the document is valid")
    if is_serving:
        return Verdict(
            is_accepted=True, reason="UnresolvedReference", message=say(problems), is_resolved=False
        )
    is_secret = any(problem.field.endswith("secretRef") for problem in problems)
    return Verdict(
        is_accepted=False, reason="SecretMissing" if is_secret else "Invalid", message=say(problems)
    )


def _is_wrong_by_itself(key: ObjectKey, objects: Sequence[Json], secrets: Sequence[Json]) -> bool:
    """Return whether a document is wrong by itself, not by excluding another.

    The last good version of one that excludes another would exclude it too.
    """
    alone = next(body for body in objects if key_of(body) == key)
    return key in documents_from_objects([alone, *secrets])[1]


def _with_defaults(documents: Documents, objects: Sequence[Json]) -> Documents:
    """Add the built-in trunk and route where there is no document of the kind, not even a wrong one."""
    kinds = {str(body["kind"]) for body in objects}
    completed = complete(documents)
    return Documents(
        documents.gateway,
        documents.trunks if "SipTrunk" in kinds else completed.trunks,
        documents.routes if "BotRoute" in kinds else completed.routes,
        documents.secrets,
    )


def _keep_last_good(
    config: GatewayConfig, present: GatewayConfig | None, keys: Sequence[ObjectKey]
) -> list[ObjectKey]:
    """Copy the present parts of these documents into `config`; return those that existed."""
    if present is None:
        return []
    kept: list[ObjectKey] = []
    for key in keys:
        kind, name = key
        if kind == "SipGateway" and present.gateway.name == name:
            addresses = dict(config.gateway.advertised_addresses)
            config.gateway.CopyFrom(present.gateway)
            config.gateway.ClearField("advertised_addresses")
            config.gateway.advertised_addresses.update(addresses)
            kept.append(key)
        elif kind == "SipTrunk":
            config.trunks.extend(found := [trunk for trunk in present.trunks if trunk.name == name])
            kept += [key] if found else []
        elif kind == "BotRoute":
            routes = [route for route in present.routes if route.name == name]
            config.routes.extend(routes)
            kept += [key] if routes else []
    config.trunks.sort(key=lambda trunk: trunk.name)
    config.routes.sort(key=lambda route: (-route.priority, route.name))
    return kept
