"""Statuses: what each document is told of itself, written only when it changed and counts not too often."""

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
from sipgw.operator.gather import Objects, RegistryView
from sipgw.operator.plan import Plan, SizingSpec
from sipgw.operator.relay_warnings import in_words
from sipgw.operator.resources.documents import ObjectKey, key_of
from sipgw.operator.resources.events import subject_of
from sipgw.operator.resources.json_parts import Json, part, parts
from sipgw.operator.settings import OperatorSettings

COUNTS_EVERY_S: Final = 10.0


class Statuses:
    """Remembers when it wrote."""

    def __init__(self) -> None:
        self._written_at: dict[ObjectKey, float] = {}

    async def write(
        self,
        applier: Applier,
        settings: OperatorSettings,
        objects: Objects,
        checked: Checked,
        view: RegistryView,
        made: Plan | None,
        sizing: SizingSpec,
        *,
        is_in_force: bool,
        now: float,
    ) -> None:
        """Of every document; the events of those that are refused."""
        facts = facts_of(settings, checked, view, made, sizing, is_in_force=is_in_force)
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
                body["status"] = status  # the next pass need not list again to know
                self._written_at[key] = now

    def _is_due(self, key: ObjectKey, before: Json, after: Json, now: float) -> bool:
        if before == after:
            return False
        waited = now - self._written_at.get(key, float("-inf"))
        return differs_beyond_counts(before, after) or waited >= COUNTS_EVERY_S


def facts_of(
    settings: OperatorSettings,
    checked: Checked,
    view: RegistryView,
    made: Plan | None,
    sizing: SizingSpec,
    *,
    is_in_force: bool,
) -> GatewayFacts:
    """The gateway as its documents tell it."""
    live = [relay for relay in view.relays if relay.healthy]
    return GatewayFacts(
        registry_problem=view.problem,
        is_config_in_force=is_in_force,
        relays_wanted=made.wanted if made is not None else len(live),
        relays_ready=sum(1 for relay in live if not relay.draining),
        relays_draining=sum(1 for relay in live if relay.draining),
        relays_least=sizing.least if made is not None else 0,
        edges=view.edges,
        calls=view.counts.live,
        calls_by_route=dict(view.counts.by_route),
        calls_by_trunk=dict(view.counts.by_trunk),
        relay_warnings=in_words(live),
        ignored_ports=ignored_ports(checked.documents.gateway, settings.sip_port, settings.rtp_ports),
    )


def _documents(checked: Checked) -> dict[ObjectKey, Document]:
    found = checked.documents
    every = (found.gateway, *found.trunks, *found.routes)
    return {(one.kind, one.metadata.name): one for one in every}


def _is_news(body: Json, verdict: Verdict) -> bool:
    """Whether the document is refused for a reason that its status does not tell yet."""
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
        metrics.RELAYS.labels("draining").set(facts.relays_draining)
