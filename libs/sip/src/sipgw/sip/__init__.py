"""Sans-I/O SIP: messages, transactions, dialogs."""

from sipgw.sip.address import NameAddress
from sipgw.sip.dialog import CSeqOrder, Dialog, DialogRole, cseq_order, is_in_dialog, refreshed_target
from sipgw.sip.digest import Challenge, Credentials, DigestAlgorithm, answer_challenges, digest_response
from sipgw.sip.errors import OutOfOrder, SipError, SipParseError, SipUsageError, UnsafeHeader
from sipgw.sip.events import (
    AckOfFailure,
    AckReceived,
    CancelReceived,
    MalformedReceived,
    RequestReceived,
    ResponseReceived,
    ResponseStray,
    TransactionEvent,
    TransactionTerminated,
    TransactionTimedOut,
    TransportFailed,
)
from sipgw.sip.headers import Headers
from sipgw.sip.info_digits import PressedKey, digits_of, has_digits
from sipgw.sip.inspection import UasCapabilities, inspect_request
from sipgw.sip.message import SipRequest, SipResponse
from sipgw.sip.number import Subscriber, subscriber_of
from sipgw.sip.ok_retransmission import OkRetransmission, OkState
from sipgw.sip.parser import ParserLimits, parse_message
from sipgw.sip.readings import CSeq
from sipgw.sip.requests import make_ack, make_cancel, new_request
from sipgw.sip.responses import make_response, tagged_to
from sipgw.sip.routing import Address, response_destination
from sipgw.sip.serializer import serialize
from sipgw.sip.status import reason_phrase
from sipgw.sip.timers import TimerValues
from sipgw.sip.transactions.keys import TransactionKey
from sipgw.sip.transactions.layer import Screening, TransactionLayer
from sipgw.sip.uri import OtherUri, SipUri, parse_uri
from sipgw.sip.via import Via

__all__ = [
    "AckOfFailure",
    "AckReceived",
    "Address",
    "CSeq",
    "CSeqOrder",
    "CancelReceived",
    "Challenge",
    "Credentials",
    "Dialog",
    "DialogRole",
    "DigestAlgorithm",
    "Headers",
    "MalformedReceived",
    "NameAddress",
    "OkRetransmission",
    "OkState",
    "OtherUri",
    "OutOfOrder",
    "ParserLimits",
    "PressedKey",
    "RequestReceived",
    "ResponseReceived",
    "ResponseStray",
    "Screening",
    "SipError",
    "SipParseError",
    "SipRequest",
    "SipResponse",
    "SipUri",
    "SipUsageError",
    "Subscriber",
    "TimerValues",
    "TransactionEvent",
    "TransactionKey",
    "TransactionLayer",
    "TransactionTerminated",
    "TransactionTimedOut",
    "TransportFailed",
    "UasCapabilities",
    "UnsafeHeader",
    "Via",
    "answer_challenges",
    "cseq_order",
    "digest_response",
    "digits_of",
    "has_digits",
    "inspect_request",
    "is_in_dialog",
    "make_ack",
    "make_cancel",
    "make_response",
    "new_request",
    "parse_message",
    "parse_uri",
    "reason_phrase",
    "refreshed_target",
    "response_destination",
    "serialize",
    "subscriber_of",
    "tagged_to",
]
