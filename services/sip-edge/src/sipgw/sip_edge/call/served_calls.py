"""The parts that act on the calls that this edge serves."""

from dataclasses import dataclass

from sipgw.sip_edge.call.allocation import Allocations
from sipgw.sip_edge.call.deadlines import Deadlines
from sipgw.sip_edge.call.ending import CallEnding
from sipgw.sip_edge.call.fallback import Fallbacks
from sipgw.sip_edge.call.live_calls import LiveCalls
from sipgw.sip_edge.record.records import CallRecords


@dataclass(frozen=True, slots=True)
class ServedCalls:
    """The calls served here, and the parts that act on them."""

    records: CallRecords
    live: LiveCalls
    """The local state of each call."""
    ending: CallEnding
    deadlines: Deadlines
    fallbacks: Fallbacks
    allocations: Allocations
