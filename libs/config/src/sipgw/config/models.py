"""SipGateway, SipTrunk and BotRoute as people write them: one truth for YAML files, CRDs and the reference.

All defaults are in these models and nowhere else. Written for Kubernetes' structural schemas: bounds on every
list, map and string, no unions but members of which one is set. What services follow is compiled from these
(compiling.py); the CRDs are generated from them (crds.py).
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
