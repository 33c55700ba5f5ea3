"""The key of a transaction (RFC 3261 §17.1.3, §17.2.3)."""

from typing import NamedTuple

from sipgw.sip.message import SipRequest, SipResponse


class TransactionKey(NamedTuple):
    """`role` is "server" or "client"; an ACK has the key of its INVITE.

    Call-ID and CSeq are more than the RFC asks for: a client that uses one branch for several requests (as
    those of RFC 4475 do) must not get the response of another request.
    """

    role: str
    branch: str
    sent_by: str
    method: str
    call_id: str
    cseq: int

    def __str__(self) -> str:
        return f"{self.role}:{self.method}:{self.branch}:{self.sent_by}"


def server_key(request: SipRequest, *, method: str | None = None) -> TransactionKey:
    """Return the key of the server transaction that `request` belongs to.

    `method` replaces the request's own (CANCEL looks for INVITE). Without an RFC 3261 branch the fields of
    RFC 3261 §17.2.3's second list identify the transaction.
    """
    via = request.via
    method = method or ("INVITE" if request.method == "ACK" else request.method)
    branch = via.branch or ""
    if not via.has_rfc3261_branch:
        branch = f"{branch} {request.uri} {request.from_.tag}"
    return TransactionKey("server", branch, via.sent_by, method, request.call_id, request.cseq.number)


def client_key(message: SipRequest | SipResponse) -> TransactionKey:
    """Return the key of the client transaction of our request, or of a response: branch and CSeq method."""
    number, method = message.cseq
    return TransactionKey("client", message.via.branch or "", "", method, message.call_id, number)
