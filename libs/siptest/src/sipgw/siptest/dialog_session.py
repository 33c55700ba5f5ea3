"""The dialog of a call as the phone uses it: its requests and their destination."""

from collections.abc import Callable, Iterable

from sipgw.sip import Address, Dialog, SipRequest, SipResponse
from sipgw.siptest.endpoint import ClientTransaction, HostPort, SipEndpoint
from sipgw.siptest.errors import CallOver, CallTimedOut
from sipgw.siptest.negotiation import CONTENT_TYPE
from sipgw.siptest.resolve import destination_of


class DialogSession:
    """A dialog; `destination`, when set, replaces its next hop, for example by another edge."""

    def __init__(self, endpoint: SipEndpoint, contact: str) -> None:
        self.dialog: Dialog | None = None
        self.destination: HostPort | None = None
        self.contact = contact
        self.endpoint = endpoint

    @property
    def live(self) -> Dialog:
        if self.dialog is None:
            raise CallOver("there is no dialog: the call was never answered")
        return self.dialog

    def towards(self, otherwise: Address | None = None) -> Address:
        """Return the address for the dialog's requests."""
        if self.destination is not None:
            return Address("UDP", *self.destination)
        return otherwise or destination_of(self.live.next_hop)

    def make_request(
        self,
        method: str,
        body: bytes = b"",
        content_type: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> SipRequest:
        """Make the next request of the dialog with the next CSeq."""
        self.dialog, request = self.live.next_request(
            method, self.endpoint.via(), self.contact, body, content_type, headers=headers
        )
        return request

    async def transact(
        self,
        request: SipRequest,
        timeout_s: float,
        on_response: Callable[[SipResponse], None] = lambda _: None,
    ) -> SipResponse:
        """Send a request and wait for its final response. Raises CallTimedOut."""
        client = self.endpoint.send_request(request, self.towards(), on_response)
        return await final_response(client, timeout_s)

    def send_ack(self, cseq: int, body: bytes = b"") -> None:
        """Send the ACK of a 2xx: outside transactions, with its own branch (RFC 3261 §13.2.2.4)."""
        via = self.endpoint.via().with_params(branch=self.endpoint.new_branch())
        self.endpoint.send_raw(self.live.ack(via, cseq, body, CONTENT_TYPE), self.towards())


async def final_response(client: ClientTransaction, timeout_s: float) -> SipResponse:
    """Wait for the end of a transaction. Raises CallTimedOut."""
    await client.changes.until(lambda: client.is_over, timeout_s, f"answer to {client.request.method}")
    final = client.final
    if final is None:
        raise CallTimedOut(f"no answer to {client.request.method}: its transaction timed out")
    return final
