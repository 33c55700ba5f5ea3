"""SipTrunk: a carrier or PBX, and how its calls are recognized."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from sipgw.config.document import Document, KubernetesProperty, Metadata, Rule, refuse, rules
from sipgw.config.scalars import Cidr, CountryCode, DialPrefix, SecretKey, SecretName, UserName


class SecretReference(Document):
    """A key of a Secret of the same namespace, or of the same files."""

    name: SecretName = Field(description="Name of the Secret.")
    key: SecretKey = Field(default="password", description="Key in the Secret whose value is the password.")


class DigestAuth(Document):
    """User name and password (RFC 3261 §22, RFC 8760); the realm is the SipGateway's name."""

    username: UserName = Field(description="User name of the trunk; no two trunks may have the same.")
    secret_ref: SecretReference = Field(description="The Secret that holds the password.")
    algorithms: Annotated[list[Literal["SHA-256", "MD5"]], KubernetesProperty("list-type", "set")] = Field(
        default=["SHA-256", "MD5"],
        min_length=1,
        max_length=2,
        description="Algorithms allowed. Give [MD5] for a client that reads only the first challenge.",
    )

    @model_validator(mode="after")
    def _check_twice(self) -> "DigestAuth":
        if len(set(self.algorithms)) < len(self.algorithms):
            raise refuse(f"algorithms {self.algorithms}", "each algorithm once")
        return self


class TrunkAuth(Document):
    """How the trunk proves its identity where its addresses don't."""

    digest: DigestAuth = Field(
        description="The gateway challenges the trunk's INVITEs for this user name and password."
    )


def _read_off(value: object) -> object:
    """Read a bare `off`, which YAML 1.1 takes for false."""
    return "off" if value is False else value


class TrunkMedia(Document):
    """Where the trunk's audio comes from, and where the bot's audio is sent."""

    symmetric: Annotated[Literal["auto", "always", "off"], BeforeValidator(_read_off)] = Field(
        default="auto",
        description=(
            "Whether bot audio goes to where RTP comes from, if that is not the address in the SDP. auto: "
            "if it comes from the caller's own hosts, and the caller is behind NAT or its SDP's address is "
            "silent; always: from any host; off: never."
        ),
    )
    networks: list[Cidr] = Field(
        default_factory=list,
        max_length=64,
        description="The only networks that media is sent to and followed in. Empty: the rules of auto hold.",
    )


class TrunkNumbers(Document):
    """How the trunk writes numbers, so that caller and called become E.164: +, country code, number."""

    model_config = rules(
        Rule(
            "self.nationalPrefix != self.internationalPrefix",
            "two different prefixes, one of them may be empty",
        ),
    )

    country_code: CountryCode = Field(description="Country code of the trunk's national numbers, in quotes.")
    national_prefix: DialPrefix = Field(
        default="0", description='Prefix of national numbers; "" if they have none. North America: "1".'
    )
    international_prefix: DialPrefix = Field(
        default="00", description='Prefix of foreign numbers; "" if they have none. North America: "011".'
    )

    @model_validator(mode="after")
    def _check_prefixes(self) -> "TrunkNumbers":
        if self.national_prefix == self.international_prefix:
            raise refuse(
                f"twice {self.national_prefix!r}", "two different prefixes, one of them may be empty"
            )
        return self


class TrunkLimits(Document):
    """Limits on what the trunk may ask of the gateway."""

    calls_per_second: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Most new calls a second at each edge; others get 503 with Retry-After. 0: no limit.",
    )


class SipTrunkSpec(Document):
    """A carrier or PBX."""

    model_config = rules(
        Rule(
            "!(has(self.auth) && has(self.sourceCidrs) && size(self.sourceCidrs) > 0)",
            "one way of authentication: sourceCidrs or auth",
        ),
        Rule(
            "has(self.auth) || (has(self.sourceCidrs) && size(self.sourceCidrs) > 0) || "
            "!(has(oldSelf.auth) || (has(oldSelf.sourceCidrs) && size(oldSelf.sourceCidrs) > 0))",
            "sourceCidrs or auth, since the trunk had one; for calls from anywhere make another trunk",
        ),
    )

    source_cidrs: list[Cidr] = Field(
        default_factory=list,
        max_length=256,
        description="Sources of its requests; the longest match wins. Without this and auth: any other.",
    )
    auth: TrunkAuth | None = Field(
        default=None,
        description="Authentication of a trunk whose addresses change. Not allowed beside sourceCidrs.",
    )
    media: TrunkMedia = TrunkMedia()
    numbers: TrunkNumbers | None = Field(
        default=None, description="How to make the trunk's numbers E.164. Without it they stay as they come."
    )
    limits: TrunkLimits = TrunkLimits()

    @model_validator(mode="after")
    def _check_one_way(self) -> "SipTrunkSpec":
        if self.auth is not None and self.source_cidrs:
            raise refuse("sourceCidrs and auth", "one way of authentication: sourceCidrs or auth")
        return self


class SipTrunk(Document):
    """A carrier or PBX that calls come from."""

    api_version: Literal["sipgw.io/v1alpha1"]
    kind: Literal["SipTrunk"]
    metadata: Metadata
    spec: SipTrunkSpec = SipTrunkSpec()
