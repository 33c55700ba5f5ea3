"""Records of calls (CallSession): legal steps, compare-and-set, edge leases and partition streams."""

from sipgw.calls.call_store import CallStore, Created, Existing
from sipgw.calls.call_stream import CallStream, PartitionRecords, Transition
from sipgw.calls.edge_leases import EDGE_BEAT_PERIOD_S, EDGE_LEASE_MS, EdgeLease, EdgeLeases
from sipgw.calls.ended_outbox import EndedCall, EndedOutbox
from sipgw.calls.errors import CallsError, IllegalTransition, VersionConflict
from sipgw.calls.identities import identity_of, rendezvous_owner, to_record
from sipgw.calls.ids import call_id_for, random_call_id
from sipgw.calls.record import TOMBSTONE_MS, is_ended
from sipgw.calls.transitions import LEGAL_TRANSITIONS, is_legal, states_before

__all__ = [
    "EDGE_BEAT_PERIOD_S",
    "EDGE_LEASE_MS",
    "LEGAL_TRANSITIONS",
    "TOMBSTONE_MS",
    "CallStore",
    "CallStream",
    "CallsError",
    "Created",
    "EdgeLease",
    "EdgeLeases",
    "EndedCall",
    "EndedOutbox",
    "Existing",
    "IllegalTransition",
    "PartitionRecords",
    "Transition",
    "VersionConflict",
    "call_id_for",
    "identity_of",
    "is_ended",
    "is_legal",
    "random_call_id",
    "rendezvous_owner",
    "states_before",
    "to_record",
]
