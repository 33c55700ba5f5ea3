"""The operator's status of a document: conditions, and the few figures that `kubectl get` shows."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from sipgw.config.document import KubernetesProperty

MAX_MESSAGE = 4096
MAX_SUMMARY = 512

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Status(BaseModel):
    """A part of a status; ``model_dump(by_alias=True, exclude_none=True)`` is its form for the API."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Condition(Status):
    """One condition with its reason and the time of its last change, like metav1.Condition."""

    type: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Z][A-Za-z]*$",
        description="Accepted: it is valid. Programmed: the registry serves it. Ready: calls can come.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    observed_generation: int = Field(
        default=0, ge=0, le=2**53, description="Generation of the document that the condition describes."
    )
    last_transition_time: str = Field(
        max_length=32,
        json_schema_extra={"format": "date-time"},
        description="When status last changed.",
    )
    reason: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Z][A-Za-z0-9]*$",
        description="Reason of the status in one word, for programs.",
    )
    message: str = Field(
        default="", max_length=MAX_MESSAGE, description="Reason of the status and what to do, for people."
    )


class DocumentStatus(Status):
    """The status fields of all kinds."""

    observed_generation: int | None = Field(
        default=None, ge=0, le=2**53, description="Generation of the document that the operator has seen."
    )
    conditions: Annotated[
        list[Condition],
        KubernetesProperty("list-type", "map"),
        KubernetesProperty("list-map-keys", ("type",)),
    ] = Field(
        default_factory=list,
        max_length=8,
        description="Conditions of the document, such as Accepted, Programmed and Ready.",
    )


class RelayCounts(Status):
    """The relays of the gateway."""

    wanted: Count = Field(default=0, description="Relays that the operator aims at.")
    ready: Count = Field(default=0, description="Relays that take new calls.")
    full: Count = Field(default=0, description="Relays that take no new calls because their CPU is used up.")
    late: Count = Field(default=0, description="Relays that take no new calls because their audio is late.")
    draining: Count = Field(
        default=0, description="Relays that are draining: their calls move to other relays."
    )


class SipGatewayStatus(DocumentStatus):
    """The status of the gateway."""

    relays: RelayCounts | None = None
    calls: Count | None = Field(default=None, description="Calls in progress.")
    edges: Count | None = Field(default=None, description="SIP edges that are ready.")


class SipTrunkStatus(DocumentStatus):
    """The status of the trunk."""

    auth: str | None = Field(
        default=None, max_length=MAX_SUMMARY, description="How the gateway recognises calls of the trunk."
    )
    calls_now: Count | None = Field(default=None, description="Calls in progress.")


class BotRouteStatus(DocumentStatus):
    """The status of the route."""

    match: str | None = Field(
        default=None, max_length=MAX_SUMMARY, description="Summary of the calls that the route takes."
    )
    bot: str | None = Field(
        default=None, max_length=MAX_SUMMARY, description="Summary of the bots that serve them."
    )
    calls_now: Count | None = Field(default=None, description="Calls in progress.")


STATUSES: dict[str, type[DocumentStatus]] = {
    "SipGateway": SipGatewayStatus,
    "SipTrunk": SipTrunkStatus,
    "BotRoute": BotRouteStatus,
}
