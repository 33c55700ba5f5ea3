"""The gateway's documents: SipGateway, SipTrunk, BotRoute."""

from sipgw.config.compiling import compile_config
from sipgw.config.documents import Documents, builtin_documents, complete, default_gateway, load_documents
from sipgw.config.errors import ConfigError, ConfigProblem
from sipgw.config.matching import choose_bot, match_route, match_trunk, rank_bots
from sipgw.config.models import API_VERSION, BUILTIN_ECHO, BotRoute, SipGateway, SipTrunk

__all__ = [
    "API_VERSION",
    "BUILTIN_ECHO",
    "BotRoute",
    "ConfigError",
    "ConfigProblem",
    "Documents",
    "SipGateway",
    "SipTrunk",
    "builtin_documents",
    "choose_bot",
    "compile_config",
    "complete",
    "default_gateway",
    "load_documents",
    "match_route",
    "match_trunk",
    "rank_bots",
]
