"""A phone answers digest challenges."""

import pytest

from sipgw.sip import Challenge, Credentials, DigestAlgorithm, RequestReceived, SipResponse, make_response
from sipgw.siptest import CallRefused, Login, SipPhone


class Doorkeeper:
    """Challenges each INVITE of a phone, and `stale` more times although it has credentials."""

    def __init__(self, phone: SipPhone, status: int = 401, *, stale: int = 0) -> None:
        self.status, self.stale = status, stale
        self.seen: list[Credentials] = []
        phone.on_request = self.answer

    def answer(self, received: RequestReceived) -> SipResponse | None:
        request = received.request
        if request.method != "INVITE":
            return None
        asked, answered = ("WWW", "") if self.status == 401 else ("Proxy", "Proxy-")
        credentials = Credentials.parse(request.headers.get(f"{answered}Authorization") or "")
        if credentials is not None:
            self.seen.append(credentials)
            if len(self.seen) > self.stale:
                return (
                    None
                    if credentials.prove("INVITE", b"secret")
                    else make_response(request, 403, to_tag="x")
                )
        lines = [Challenge("gw", f"nonce-{len(self.seen)}", one) for one in DigestAlgorithm]
        headers = [(f"{asked}-Authenticate", str(one)) for one in lines]
        return make_response(request, self.status, to_tag="x", headers=headers)


@pytest.mark.parametrize("status", [401, 407])
async def test_a_phone_that_knows_the_password_is_answered(status: int) -> None:
    async with await SipPhone.open(user="alice") as alice, await SipPhone.open(user="bob") as bob:
        door = Doorkeeper(bob, status)
        call = alice.invite(bob.uri, login=Login("alice", "secret"))
        (await bob.incoming()).answer()
        await call.answered()
        await call.hangup()
        (credentials,) = door.seen
        assert (credentials.username, credentials.algorithm) == ("alice", DigestAlgorithm.SHA256)
        sent = [message.first_line.split()[0] for message in alice.messages if message.is_sent]
        assert sent == ["INVITE", "ACK", "INVITE", "ACK", "BYE"]


async def test_a_stale_nonce_is_answered_once_more() -> None:
    async with await SipPhone.open(user="alice") as alice, await SipPhone.open(user="bob") as bob:
        door = Doorkeeper(bob, stale=1)
        call = alice.invite(bob.uri, login=Login("alice", "secret"))
        (await bob.incoming()).answer()
        await call.answered()
        assert [one.nonce for one in door.seen] == ["nonce-0", "nonce-1"]


@pytest.mark.parametrize(
    ("login", "status"), [(None, 401), (Login("alice", "wrong"), 403)], ids=["nobody", "wrong password"]
)
async def test_others_are_refused(login: Login | None, status: int) -> None:
    async with await SipPhone.open(user="alice") as alice, await SipPhone.open(user="bob") as bob:
        Doorkeeper(bob)
        with pytest.raises(CallRefused) as refused:
            await alice.call(bob.uri, login=login)
        assert refused.value.status == status


async def test_a_door_that_never_opens_is_not_knocked_at_for_ever() -> None:
    async with await SipPhone.open(user="alice") as alice, await SipPhone.open(user="bob") as bob:
        Doorkeeper(bob, stale=99)
        with pytest.raises(CallRefused) as refused:
            await alice.call(bob.uri, login=Login("alice", "secret"))
        assert refused.value.status == 401


def test_no_repr_shows_the_password() -> None:
    assert "secret" not in repr(Login("alice", "secret"))
