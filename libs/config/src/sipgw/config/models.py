"""SipGateway, SipTrunk and BotRoute as people write them: one definition for YAML, CRDs and reference.

All defaults are in these models and nowhere else. They are written for Kubernetes' structural schemas: bounds
on every list, map and string, and optional members of which one is set instead of unions. The config of the
services is compiled from them (compiling.py); the CRDs are generated from them (crds.py).
"""

from sipgw.config.bot_route import BotRoute
from sipgw.config.sip_gateway import SipGateway
from sipgw.config.sip_trunk import SipTrunk

__all__ = ["KINDS", "AnyDocument", "BotRoute", "SipGateway", "SipTrunk"]

AnyDocument = SipGateway | SipTrunk | BotRoute

KINDS: dict[str, type[AnyDocument]] = {
    "SipGateway": SipGateway,
    "SipTrunk": SipTrunk,
    "BotRoute": BotRoute,
}
