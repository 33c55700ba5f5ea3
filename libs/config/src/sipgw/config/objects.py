"""Documents from Kubernetes objects: a wrong one is left out with its problem, the others serve."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, cast

from sipgw.config.documents import Documents, assemble, read_document
from sipgw.config.errors import ConfigError, ConfigProblem
from sipgw.config.misfits import Placed, conflicts, dangling
from sipgw.config.secrets import Secret, Secrets
from sipgw.config.yaml_source import LocatedDocument

ObjectKey = tuple[str, str]  # kind, name


def documents_from_objects(
    objects: Iterable[Mapping[str, Any]],
) -> tuple[Documents, dict[ObjectKey, tuple[ConfigProblem, ...]]]:
    """Return the usable documents and the problems of each object. Never raises for an object's contents.

    ``objects`` are SipGateways, SipTrunks, BotRoutes and the Secrets that trunks refer to, of one namespace,
    as the API gives them (with ``kind``, which the items of a list may lack: add it). Status, managed fields
    and the rest of the metadata are ignored; unknown fields of the spec are problems.

    - An object with a problem is not in the Documents, except a route that names a missing trunk:
      it serves the other trunks (and none, when it names no other).
    - Of two that exclude each other (two SipGateways, two trunks with one user name) the older one holds, and
      the younger has the problem. A trunk that takes calls from anywhere is left out beside one with auth.
    - A trunk whose Secret or key is missing has a problem of the field ``spec.auth.digest.secretRef``.

    The trunk and route of a laptop's ``complete`` are not added.
    """
    problems: defaultdict[ObjectKey, list[ConfigProblem]] = defaultdict(list)
    placed: list[Placed] = []
    secrets: list[Secret] = []
    ordered = sorted(objects, key=_age)
    for one in ordered:
        key = _key(one)
        try:
            read = read_document(LocatedDocument("/".join(key), dict(one)))
            secrets.append(read) if isinstance(read, Secret) else placed.append(read)
        except ConfigError as error:
            problems[key] += error.problems
    known = Secrets.of(secrets)
    trunks = sorted(name for kind, name in map(_key, ordered) if kind == "SipTrunk")
    left_out: set[ObjectKey] = set()
    for misfit in [*conflicts(placed), *dangling(placed, trunks, known)]:
        problems[misfit.placed.key].append(misfit.problem)
        if not misfit.is_usable:
            left_out.add(misfit.placed.key)
    serving = (one.document for one in placed if one.key not in left_out)
    return assemble(serving, known), {key: tuple(found) for key, found in problems.items()}


def _key(one: Mapping[str, Any]) -> ObjectKey:
    return str(one.get("kind", "")), str(_metadata(one).get("name", ""))


def _age(one: Mapping[str, Any]) -> tuple[str, str]:
    metadata = _metadata(one)
    return str(metadata.get("creationTimestamp", "")), str(metadata.get("name", ""))


def _metadata(one: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = one.get("metadata")
    return cast("Mapping[str, Any]", metadata) if isinstance(metadata, dict) else {}
