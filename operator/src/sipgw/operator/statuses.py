"""Statuses of the documents, written only when changed; changed counts are written seldom."""

from dataclasses import dataclass
from typing import Final

from sipgw.operator import metrics
from sipgw.operator.apply import Applier
from sipgw.operator.checks import Checked, Verdict
from sipgw.operator.conditions import (
    Document,
    GatewayFacts,
    differs_beyond_counts,
    ignored_ports,
    status_of,
)
from sipgw.operator.fleet import Plan, SizingSpec
from sipgw.operator.gather import Objects, RegistryView
from sipgw.operator.relay_warnings import in_words
from sipgw.operator.resources.documents import ObjectKey, key_of
from sipgw.operator.resources.events import subject_of
from sipgw.operator.resources.json_parts import Json, part, parts
from sipgw.operator.resources.nodes import Placing, node_states
from sipgw.operator.settings import OperatorSettings
from sipgw.operator.spread import together
from sipgw.operator.surroundings import Surroundings

COUNTS_EVERY_S: Final = 10.0
_FIRST_WAIT_S: Final = 4.0
_LONGEST_WAIT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class _Refused:
    """The apiserver refused a status; it is written again at `again`, then after twice the wait."""

    again: float
    wait_s: float


class Statuses:
    """The statuses, with the times of the last writes."""

    def __init__(self) -> None:
        self._written_at: dict[ObjectKey, float] = {}
        self._refused: dict[ObjectKey, _Refused] = {}

    async def write(
        self,
        applier: Applier,
        objects: Objects,
        checked: Checked,
        facts: GatewayFacts,
        *,
        now: float,
    ) -> None:
        """Write the status of every document and the events of rejected ones."""
        _measure(checked, facts)
        documents = _documents(checked)
        for body in objects.documents:
            key = key_of(body)
            verdict = checked.verdicts[key]
            status = status_of(body, documents.get(key), verdict, facts, applier.now())
            if not self._is_due(key, part(body, "status"), status, now):
                continue
            if _is_news(body, verdict):
                await applier.tell(subject_of(body), "Refused", verdict.message, is_warning=True)
            if await applier.write_status(body, status):
                body["status"] = status  # so that the next pass need not list again
                self._written_at[key] = now
                self._refused.pop(key, None)
            else:
                wait_s = min(
                    2 * self._refused.get(key, _Refused(0, _FIRST_WAIT_S / 2)).wait_s, _LONGEST_WAIT_S
                )
                self._refused[key] = _Refused(now + wait_s, wait_s)

    def _is_due(self, key: ObjectKey, before: Json, after: Json, now: float) -> bool:
        refused = self._refused.get(key)
        if before == after or (refused is not None and now < refused.again):
            return False
        waited = now - self._written_at.get(key, float("-inf"))
        return differs_beyond_counts(before, after) or waited >= COUNTS_EVERY_S


def facts_of(
    settings: OperatorSettings,
    checked: Checked,
    view: RegistryView,
    made: Plan | None,
    sizing: SizingSpec,
    surroundings: Surroundings,
    *,
    is_in_force: bool,
) -> GatewayFacts:
    """Return the facts about the gateway that its documents show."""
    live = [relay for relay in view.relays if relay.healthy]
    nodes = node_states(surroundings.nodes, Placing())
    staying = [relay for relay in live if not relay.draining]
    serving = sorted(relay.registration.node for relay in staying)
    return GatewayFacts(
        registry_problem=view.problem,
        is_config_in_force=is_in_force,
        relays_wanted=made.wanted if made is not None else len(live),
        relays_ready=sum(1 for relay in staying if not relay.full and not relay.late),
        relays_full=sum(1 for relay in staying if relay.full),
        relays_late=sum(1 for relay in staying if relay.late and not relay.full),
        relays_draining=len(live) - len(staying),
        relays_least=sizing.least if made is not None else 0,
        edges=view.edges,
        calls=view.counts.live,
        calls_by_route=dict(view.counts.by_route),
        calls_by_trunk=dict(view.counts.by_trunk),
        relay_warnings=in_words(live),
        edges_asked=surroundings.edges_asked,
        together=together(serving, nodes),
        ignored_ports=ignored_ports(checked.documents.gateway, settings.sip_port, settings.rtp_ports),
    )


def _documents(checked: Checked) -> dict[ObjectKey, Document]:
    found = checked.documents
    every = (found.gateway, *found.trunks, *found.routes)
    return {(one.kind, one.metadata.name): one for one in every}


def _is_news(body: Json, verdict: Verdict) -> bool:
    """Return whether the document is rejected for a reason that its status does not show yet."""
    if verdict.is_accepted:
        return False
    conditions = parts(part(body, "status"), "conditions")
    told = next((one for one in conditions if one.get("type") == "Accepted"), Json())
    return told.get("status") != "False" or told.get("message") != verdict.message


def _measure(checked: Checked, facts: GatewayFacts) -> None:
    for kind in ("SipGateway", "SipTrunk", "BotRoute"):
        refused = [key for key, one in checked.verdicts.items() if key[0] == kind and not one.is_accepted]
        metrics.REFUSED_DOCUMENTS.labels(kind).set(len(refused))
    if not facts.registry_problem:
        metrics.RELAYS.labels("wanted").set(facts.relays_wanted)
        metrics.RELAYS.labels("ready").set(facts.relays_ready)
        metrics.RELAYS.labels("full").set(facts.relays_full)
        metrics.RELAYS.labels("late").set(facts.relays_late)
        metrics.RELAYS.labels("draining").set(facts.relays_draining)
        kind = facts.together.kind if facts.together is not None else ""
        for one in ("node", "zone"):
            metrics.RELAYS_TOGETHER.labels(one).set(one == kind)
