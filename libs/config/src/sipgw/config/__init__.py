"""The gateway's documents: SipGateway, SipTrunk, BotRoute."""

from sipgw.config.compiling import compile_config, unseal_password
from sipgw.config.document import API_VERSION
from sipgw.config.documents import Documents, builtin_documents, complete, default_gateway, load_documents
from sipgw.config.errors import ConfigError, ConfigProblem
from sipgw.config.matching import (
    choose_bot,
    digest_trunks,
    match_digest_trunk,
    match_route,
    match_trunk,
    rank_bots,
    rank_fallback_bots,
)
from sipgw.config.models import BotRoute, SipGateway, SipTrunk
from sipgw.config.objects import documents_from_objects
from sipgw.config.scalars import BUILTIN_ECHO
from sipgw.config.sealing import SealBroken, SealKey

__all__ = [
    "API_VERSION",
    "BUILTIN_ECHO",
    "BotRoute",
    "ConfigError",
    "ConfigProblem",
    "Documents",
    "SealBroken",
    "SealKey",
    "SipGateway",
    "SipTrunk",
    "builtin_documents",
    "choose_bot",
    "compile_config",
    "complete",
    "default_gateway",
    "digest_trunks",
    "documents_from_objects",
    "load_documents",
    "match_digest_trunk",
    "match_route",
    "match_trunk",
    "rank_bots",
    "rank_fallback_bots",
    "unseal_password",
]
