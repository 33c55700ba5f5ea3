"""The gateway's documents: SipGateway, SipTrunk, BotRoute.

A name's module is loaded when the name is asked for. An edge matches trunks and routes of the compiled
config; without the models of the documents it starts with a fifth less CPU.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sipgw.config.compiling import compile_config
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
    from sipgw.config.sealing import SealBroken, SealKey, unseal_password

_MODULE_OF: Final = {
    **dict.fromkeys(["compile_config"], "compiling"),
    **dict.fromkeys(["API_VERSION"], "document"),
    **dict.fromkeys(
        ["Documents", "builtin_documents", "complete", "default_gateway", "load_documents"], "documents"
    ),
    **dict.fromkeys(["ConfigError", "ConfigProblem"], "errors"),
    **dict.fromkeys(["choose_bot", "digest_trunks", "match_digest_trunk", "match_route"], "matching"),
    **dict.fromkeys(["match_trunk", "rank_bots", "rank_fallback_bots"], "matching"),
    **dict.fromkeys(["BotRoute", "SipGateway", "SipTrunk"], "models"),
    **dict.fromkeys(["documents_from_objects"], "objects"),
    **dict.fromkeys(["BUILTIN_ECHO"], "scalars"),
    **dict.fromkeys(["SealBroken", "SealKey", "unseal_password"], "sealing"),
}

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


def __getattr__(name: str) -> Any:
    """Load the module of a public name (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
