"""Conditions and status of each kind, as `kubectl get` shows them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sipgw.config import BotRoute, SipGateway, SipTrunk
from sipgw.config.summaries import auth_in_words, bots_in_words, match_in_words
from sipgw.operator.checks import Verdict
from sipgw.operator.resources.documents import generation_of, key_of
from sipgw.operator.resources.json_parts import Json, part, parts
from sipgw.operator.spread import Together


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition without the times that Kubernetes requires."""

    type: str
    is_true: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """The present facts of the gateway. `registry_problem`: why they are unknown; empty when known."""

    registry_problem: str = ""
    is_config_in_force: bool = False
    relays_wanted: int = 0
    relays_ready: int = 0
    relays_full: int = 0
    relays_late: int = 0
    relays_draining: int = 0
    relays_least: int = 0
    edges: int = 0
    calls: int = 0
    calls_by_route: Mapping[str, int] | None = None
    calls_by_trunk: Mapping[str, int] | None = None
    ignored_ports: str = ""
    relay_warnings: str = ""
    edges_asked: int = 0
    """0: unknown."""
    together: Together | None = None


Document = SipGateway | SipTrunk | BotRoute


def status_of(body: Json, document: Document | None, verdict: Verdict, facts: GatewayFacts, now: str) -> Json:
    """Return the status that `body` should have, equal to its present one when nothing changed.

    `document` is the parsed document. While the registry is away the numbers stay as they were: stale is
    better than wrong.
    """
    kind, name = key_of(body)
    before = part(body, "status")
    wanted = [_accepted(verdict), _programmed(verdict, facts), _ready(kind, verdict, facts)]
    if kind == "SipGateway":
        wanted += [
            _ports_ignored(facts),
            _of_now(before, facts, _relay_warnings(facts)),
            _of_now(before, facts, relays_together(facts.together)),
            _of_now(before, facts, _edges_missing(facts)),
        ]
    generation = generation_of(body)
    status: Json = {
        "observedGeneration": generation,
        "conditions": merged(parts(before, "conditions"), wanted, generation, now),
    }
    match kind:
        case "BotRoute":
            status |= _summary(before, document)
            status["callsNow"] = _count(before, facts, facts.calls_by_route, name)
        case "SipTrunk":
            status |= _summary(before, document)
            status["callsNow"] = _count(before, facts, facts.calls_by_trunk, name)
        case _:
            status |= _gateway_facts(before, facts)
    return status


def merged(before: Sequence[Json], wanted: Sequence[Condition], generation: int, now: str) -> list[Json]:
    """Merge conditions: `lastTransitionTime` changes with the status only; others' conditions stay."""
    held = {str(one.get("type")): one for one in before}
    ours = {condition.type for condition in wanted}
    result: list[Json] = []
    for condition in wanted:
        status = str(condition.is_true)
        old = held.get(condition.type, {})
        same = old.get("status") == status
        result.append(
            {
                "type": condition.type,
                "status": status,
                "reason": condition.reason,
                "message": condition.message,
                "observedGeneration": generation,
                "lastTransitionTime": old.get("lastTransitionTime", now) if same else now,
            }
        )
    return result + [one for one in before if one.get("type") not in ours]


def differs_beyond_counts(before: Json, after: Json) -> bool:
    """Return whether a change must be written at once; changed numbers of calls may wait."""
    return _without_counts(before) != _without_counts(after)


def ignored_ports(gateway: SipGateway, sip_port: int, rtp_ports: tuple[int, int]) -> str:
    """Return the ports of a SipGateway that differ from the cluster's; empty without any."""
    spec, default = gateway.spec, SipGateway.model_fields["spec"].default
    found: list[str] = []
    if spec.sip.port not in {sip_port, default.sip.port}:
        found.append(f"spec.sip.port {spec.sip.port}: the chart's value is {sip_port}")
    rtp = (spec.rtp.first_port, spec.rtp.last_port)
    if rtp not in {rtp_ports, (default.rtp.first_port, default.rtp.last_port)}:
        found.append(f"spec.rtp {rtp[0]}-{rtp[1]}: the chart's lanes have {rtp_ports[0]}-{rtp_ports[1]}")
    return "; ".join(found)


def _yes(type_: str, reason: str, message: str) -> Condition:
    return Condition(type_, is_true=True, reason=reason, message=message)


def _no(type_: str, reason: str, message: str) -> Condition:
    return Condition(type_, is_true=False, reason=reason, message=message)


def _accepted(verdict: Verdict) -> Condition:
    return Condition("Accepted", verdict.is_accepted, verdict.reason, verdict.message)


def _programmed(verdict: Verdict, facts: GatewayFacts) -> Condition:
    if facts.registry_problem:
        return _no("Programmed", "RegistryUnreachable", facts.registry_problem)
    if not verdict.is_accepted:
        if verdict.keeps_last_good:
            return _no("Programmed", "LastGood", "an earlier version of it is in force")
        return _no("Programmed", "NotAccepted", "no version of it is in force")
    if not facts.is_config_in_force:
        return _no("Programmed", "Pending", "the registry has not taken the config yet")
    return _yes("Programmed", "Programmed", "the registry serves it to edges and relays")


def _ready(kind: str, verdict: Verdict, facts: GatewayFacts) -> Condition:
    if facts.registry_problem:
        return _no("Ready", "RegistryUnreachable", facts.registry_problem)
    if not verdict.is_accepted:
        return _no("Ready", verdict.reason, verdict.message)
    if not verdict.is_resolved:
        return _no("Ready", verdict.reason, verdict.message)
    if not facts.is_config_in_force:
        return _no("Ready", "Pending", "the registry has not taken the config yet")
    if verdict.shadowed_by:
        first = f"route {verdict.shadowed_by} comes before it and takes every call that it matches"
        return _no("Ready", "Shadowed", first)
    if facts.relays_ready == 0:
        return _no_relay(facts)
    if facts.edges == 0:
        return _no("Ready", "NoEdge", "no edge holds a lease")
    serving = facts.relays_ready + facts.relays_full + facts.relays_late
    if kind == "SipGateway" and serving < facts.relays_least:
        short = f"{facts.relays_ready} relays take calls, but minRelays is {facts.relays_least}"
        return _no("Ready", "TooFewRelays", short)
    return _yes("Ready", "Ready", "the gateway takes calls")


def _no_relay(facts: GatewayFacts) -> Condition:
    """Return why no relay takes calls."""
    if facts.relays_full:
        late = f", and the audio of {facts.relays_late} is late" if facts.relays_late else ""
        full = f"the CPU of {facts.relays_full} relays is used up{late}"
        said = f"{full}: new calls get 503 until relays are added"
        return _no("Ready", "RelaysFull", said)
    if facts.relays_late:
        said = "the audio of every relay is late: new calls get 503; find out what else uses their nodes' CPU"
        return _no("Ready", "RelaysLate", said)
    return _no("Ready", "NoRelay", "no relay takes calls")


def _ports_ignored(facts: GatewayFacts) -> Condition:
    if facts.ignored_ports:
        return _yes("PortsIgnored", "SetByTheChart", facts.ignored_ports)
    return _no("PortsIgnored", "NoneSet", "the document sets no port that differs from the chart's")


def _of_now(before: Json, facts: GatewayFacts, condition: Condition) -> Condition:
    """Return the condition; while the registry is away, the previous one."""
    if not facts.registry_problem:
        return condition
    held = next((one for one in parts(before, "conditions") if one.get("type") == condition.type), Json())
    said = str(held.get("message", ""))
    return (_yes if held.get("status") == "True" else _no)(condition.type, "RegistryUnreachable", said)


def relays_together(found: Together | None) -> Condition:
    """Return the condition that tells whether all relays are on one node or in one zone."""
    if found is None:
        return _no("RelaysTogether", "Spread", "no single node or zone has all relays")
    cure = f"the operator moves one to another {found.kind}"
    if not found.has_elsewhere:
        cure = f"no other {found.kind} takes a relay: add or uncordon a node"
    said = f"all relays are on {found.kind} {found.name}: its loss would end every call; {cure}"
    return _yes("RelaysTogether", "OnOneNode" if found.kind == "node" else "InOneZone", said)


def _edges_missing(facts: GatewayFacts) -> Condition:
    if facts.edges < facts.edges_asked:
        said = f"{facts.edges} of {facts.edges_asked} edges hold a lease; is the pod of an edge Pending?"
        return _yes("EdgesMissing", "FewerThanAsked", said)
    return _no("EdgesMissing", "AllThere", "all edges that the chart asks for hold a lease")


def _relay_warnings(facts: GatewayFacts) -> Condition:
    if facts.relay_warnings:
        return _yes("RelayWarnings", "ToldByRelays", facts.relay_warnings)
    return _no("RelayWarnings", "None", "no relay reports a warning")


def _summary(before: Json, document: Document | None) -> Json:
    """Return the contents of the columns.

    A document with errors shows those of its last good version.
    """
    match document:
        case BotRoute():
            return {"match": match_in_words(document), "bot": bots_in_words(document)}
        case SipTrunk():
            return {"auth": auth_in_words(document)}
        case _:
            return {key: before[key] for key in ("match", "bot", "auth") if key in before}


def _gateway_facts(before: Json, facts: GatewayFacts) -> Json:
    if facts.registry_problem:
        return {key: before[key] for key in ("relays", "calls", "edges") if key in before}
    relays = {
        "wanted": facts.relays_wanted,
        "ready": facts.relays_ready,
        "full": facts.relays_full,
        "late": facts.relays_late,
        "draining": facts.relays_draining,
    }
    return {"relays": relays, "calls": facts.calls, "edges": facts.edges}


def _count(before: Json, facts: GatewayFacts, counts: Mapping[str, int] | None, name: str) -> int:
    if facts.registry_problem or counts is None:
        return int(before.get("callsNow") or 0)
    return counts.get(name, 0)


def _without_counts(status: Json) -> Json:
    return {key: value for key, value in status.items() if key not in {"calls", "callsNow"}}
