"""A phone's answer to digest challenges (RFC 3261 §22.2)."""

import secrets
from dataclasses import dataclass, field

from sipgw.sip import SipRequest, SipResponse, Via, answer_challenges

_ANSWERS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}
MAX_CHALLENGES = 2  # the second may come for a nonce that expired on the way


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and its password."""

    username: str
    password: str = field(repr=False)

    def answer(self, request: SipRequest, refusal: SipResponse, via: Via) -> SipRequest | None:
        """Return the request again with credentials and the next CSeq.

        None without a challenge that we can answer.
        """
        if refusal.status not in _ANSWERS:
            return None
        asked, answered = _ANSWERS[refusal.status]
        credentials = answer_challenges(
            refusal.headers.get_all(asked),
            method=request.method,
            uri=str(request.uri),
            username=self.username,
            password=self.password.encode(),
            cnonce=secrets.token_hex(8),
        )
        if credentials is None:
            return None
        headers = request.headers.copy()
        headers.set("Via", str(via))
        headers.set("CSeq", f"{request.cseq.number + 1} {request.method}")
        headers.set(answered, str(credentials))
        return SipRequest(request.method, request.uri, headers, request.body)
