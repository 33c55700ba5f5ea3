import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.sdp import (
    PCMA,
    PCMU,
    AnswerMismatch,
    Direction,
    MediaCapabilities,
    NoCommonCodec,
    RtpMap,
    SessionDescription,
    TelephoneEventMedia,
    accept_answer,
    answer_offer,
    make_offer,
    move_offer,
    renew_offer,
)

LOCAL = {"address": "198.51.100.1", "rtp_port": 20000, "session_id": 7, "session_version": 1}


def lines_of(session: SessionDescription) -> list[str]:
    return session.to_bytes().decode().splitlines()


def test_the_usual_offer_gets_the_usual_answer(offer, answer_to):
    answer = answer_to(offer())
    assert lines_of(answer.session) == [
        "v=0",
        "o=- 7 1 IN IP4 198.51.100.1",
        "s=-",
        "c=IN IP4 198.51.100.1",
        "t=0 0",
        "m=audio 20000 RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ]
    media = answer.media
    assert (media.remote_address, media.remote_rtp_port) == ("192.0.2.10", 49170)
    assert (media.remote_rtcp_address, media.remote_rtcp_port) == ("192.0.2.10", 49171)
    assert (media.codec, media.send_payload_type, media.receive_payload_type) == ("PCMU", 0, 0)
    assert (media.clock_rate_hz, media.ptime_ms, media.direction) == (8000, 20, Direction.SENDRECV)
    assert media.telephone_event == TelephoneEventMedia(101, 101, 8000)
    assert not media.rtcp_mux


def test_static_types_are_taken_without_rtpmap_and_get_one_in_the_answer(offer, answer_to):
    answer = answer_to(offer(media="m=audio 49170 RTP/AVP 8 0\n"))
    assert answer.media.codec == "PCMA"
    assert "a=rtpmap:8 PCMA/8000" in lines_of(answer.session)
    assert answer.media.telephone_event is None


def test_the_offerers_order_decides(offer, answer_to):
    assert answer_to(offer(("RTP/AVP 0 8", "RTP/AVP 8 0"))).media.codec == "PCMA"


def test_a_codec_that_we_do_not_carry_is_passed_over(offer, answer_to):
    assert answer_to(offer(), MediaCapabilities(codecs=(PCMA,))).media.codec == "PCMA"


def test_a_dynamic_number_for_a_known_codec_is_answered_with_the_same_number(offer, answer_to):
    answer = answer_to(
        offer(media="m=audio 4000 RTP/AVP 96 97\na=rtpmap:96 pcmu/8000/1\na=rtpmap:97 Telephone-Event/8000\n")
    )
    assert (answer.media.codec, answer.media.send_payload_type, answer.media.receive_payload_type) == (
        "PCMU",
        96,
        96,
    )
    assert answer.media.telephone_event == TelephoneEventMedia(97, 97, 8000)
    assert answer.session.media[0].formats == ("96", "97")


def test_telephone_events_on_another_clock_are_not_taken(offer, answer_to):
    media = (
        "m=audio 4000 RTP/AVP 0 96 97\na=rtpmap:96 telephone-event/48000\na=rtpmap:97 telephone-event/8000\n"
    )
    assert answer_to(offer(media=media)).media.telephone_event == TelephoneEventMedia(97, 97, 8000)
    assert answer_to(offer(("telephone-event/8000", "telephone-event/16000"))).media.telephone_event is None


def test_redundant_events_are_left_out_of_the_answer(offer, answer_to):
    """RFC 2198: the peer sends plain events then."""
    media = (
        "m=audio 4000 RTP/AVP 0 99 101\n"
        "a=rtpmap:99 red/8000\na=fmtp:99 101/101/101\na=rtpmap:101 telephone-event/8000\n"
    )
    answer = answer_to(offer(media=media))
    assert answer.session.media[0].formats == ("0", "101")
    assert answer.media.telephone_event == TelephoneEventMedia(101, 101, 8000)


def test_telephone_events_that_we_do_not_want_are_not_answered(offer, answer_to):
    answer = answer_to(offer(), MediaCapabilities(telephone_event=False))
    assert answer.media.telephone_event is None
    assert answer.session.media[0].formats == ("0",)


@pytest.mark.parametrize(
    "line", ["a=rtpmap:101 garbage", "a=rtpmap:", "a=rtpmap:101", "a=fmtp:", "a=fmtp:101", "a=fmtp:zzz 0-15"]
)
def test_one_malformed_line_costs_no_call(offer, answer_to, line: str):
    answer = answer_to(offer(("a=ptime:20", f"a=ptime:20\n{line}")))
    assert answer.media.codec == "PCMU"


@pytest.mark.parametrize(
    ("media", "why"),
    [
        ("", "no m= line"),
        ("m=audio 4000 RTP/AVP 18\n", "it offers G729 (supported: PCMU PCMA)"),
        ("m=audio 4000 RTP/AVP 0\na=rtpmap:0 G729/8000\n", "it offers G729 (supported: PCMU PCMA)"),
        ("m=audio 4000 RTP/AVP\n", "it offers no codec (supported: PCMU PCMA)"),
        ("m=audio 0 RTP/AVP 0\n", "port 0"),
        ("m=audio 4000 RTP/SAVP 0\n", "'RTP/SAVP' is not supported"),
        ("m=video 4000 RTP/AVP 0\n", "'video' is not supported"),
    ],
)
def test_nothing_in_common_is_488_and_says_why(offer, answer_to, media: str, why: str):
    with pytest.raises(NoCommonCodec, match=re.escape(why)) as caught:
        answer_to(offer(media=media))
    assert caught.value.sip_status == 488


def test_an_offer_without_any_address_is_488(offer, answer_to):
    with pytest.raises(NoCommonCodec, match="no c= line"):
        answer_to(offer(("c=IN IP4 192.0.2.10\n", "")))


def test_the_first_usable_audio_stream_is_taken_and_all_others_refused(offer, answer_to):
    answer = answer_to(
        offer(
            media="m=video 5000 RTP/AVP 31 34\na=rtpmap:31 H261/90000\n"
            "m=audio 5002 RTP/SAVP 0\n"
            "m=audio 5004 RTP/AVP 8\nc=IN IP4 192.0.2.77\n"
            "m=audio 5006 RTP/AVP 0\n"
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n"
        )
    )
    assert [line for line in lines_of(answer.session) if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 31",
        "m=audio 0 RTP/SAVP 0",
        "m=audio 20000 RTP/AVP 8",
        "m=audio 0 RTP/AVP 0",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    ]
    assert (answer.media.remote_address, answer.media.remote_rtp_port) == ("192.0.2.77", 5004)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("sendrecv", Direction.SENDRECV),
        ("sendonly", Direction.RECVONLY),
        ("recvonly", Direction.SENDONLY),
        ("inactive", Direction.INACTIVE),
    ],
)
@pytest.mark.parametrize("level", ["session", "media"])
def test_the_answers_direction_mirrors_the_offers(offer, answer_to, theirs: str, ours: Direction, level: str):
    offered = offer(session=f"a={theirs}\n") if level == "session" else offer(("a=ptime:20", f"a={theirs}"))
    answer = answer_to(offered)
    assert answer.media.direction is ours
    assert lines_of(answer.session)[-1] == f"a={ours}"
    assert answer.media.is_held_by_peer == (theirs in ("sendonly", "inactive"))


def test_our_own_wish_narrows_the_direction(offer, answer_to):
    assert answer_to(offer(), direction=Direction.SENDONLY).media.direction is Direction.SENDONLY
    held = answer_to(offer(("a=ptime:20", "a=sendonly")), direction=Direction.SENDONLY)
    assert held.media.direction is Direction.INACTIVE


@pytest.mark.parametrize(
    ("changes", "direction"),
    [
        ([("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0")], Direction.RECVONLY),
        ([("c=IN IP4 192.0.2.10", "c=IN IP6 ::")], Direction.RECVONLY),
        ([("a=ptime:20", "c=IN IP4 0.0.0.0")], Direction.RECVONLY),
        ([("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0"), ("a=ptime:20", "a=recvonly")], Direction.INACTIVE),
        ([("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0"), ("a=ptime:20", "a=inactive")], Direction.INACTIVE),
    ],
)
def test_the_unspecified_address_is_hold_and_never_sent_to(offer, answer_to, changes, direction: Direction):
    media = answer_to(offer(*changes)).media
    assert (media.direction, media.remote_address, media.remote_rtcp_address) == (direction, "", "")


def test_a_streams_own_address_beats_an_unspecified_one_of_the_session(offer, answer_to):
    held = ("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0")
    media = answer_to(offer(held, ("a=ptime:20", "c=IN IP4 192.0.2.11"))).media
    assert (media.direction, media.remote_address) == (Direction.SENDRECV, "192.0.2.11")


@pytest.mark.parametrize("host", ["caller.example.com", "224.2.1.1/127", "ff02::1"])
def test_what_is_no_address_of_one_host_is_left_to_be_learnt(offer, answer_to, host: str):
    media = answer_to(offer(("c=IN IP4 192.0.2.10", f"c=IN IP4 {host}"))).media
    assert (media.remote_address, media.direction) == ("", Direction.SENDRECV)


def test_ipv6_both_ways(offer, answer_to):
    answer = answer_to(offer(("c=IN IP4 192.0.2.10", "c=IN IP6 2001:db8::10")), address="2001:db8::1")
    assert answer.media.remote_address == "2001:db8::10"
    assert lines_of(answer.session)[1] == "o=- 7 1 IN IP6 2001:db8::1"
    assert lines_of(answer.session)[3] == "c=IN IP6 2001:db8::1"


@pytest.mark.parametrize(
    ("lines", "ptime"),
    [
        ("", 20),
        ("a=ptime:30\n", 30),
        ("a=ptime:60\n", 60),
        ("a=ptime:25\n", 20),
        ("a=ptime:1000\n", 20),
        ("a=ptime:0\n", 20),
        ("a=maxptime:10\n", 10),
        ("a=ptime:60\na=maxptime:40\n", 40),
        ("a=maxptime:150\n", 20),
        ("a=maxptime:5\n", 10),
    ],
)
def test_ptime_is_what_the_peer_asks_for_where_we_can(offer, answer_to, lines: str, ptime: int):
    answer = answer_to(offer(media=f"m=audio 4000 RTP/AVP 0\n{lines}"))
    assert answer.media.ptime_ms == ptime
    assert f"a=ptime:{ptime}" in lines_of(answer.session)


def test_the_peers_rtcp_address_is_used(offer, answer_to):
    media = answer_to(offer(("a=ptime:20", "a=rtcp:53020 IN IP4 192.0.2.99"))).media
    assert (media.remote_rtcp_address, media.remote_rtcp_port) == ("192.0.2.99", 53020)
    media = answer_to(offer(("a=ptime:20", "a=rtcp:53020"))).media
    assert (media.remote_rtcp_address, media.remote_rtcp_port) == ("192.0.2.10", 53020)


def test_rtcp_mux_is_agreed_only_when_both_can(offer, answer_to):
    muxed = offer(("a=ptime:20", "a=rtcp-mux\na=rtcp:53020"))
    refused = answer_to(muxed)
    assert not refused.media.rtcp_mux
    assert refused.media.remote_rtcp_port == 53020
    agreed = answer_to(muxed, MediaCapabilities(rtcp_mux=True))
    assert agreed.media.rtcp_mux
    assert agreed.media.remote_rtcp_port == agreed.media.remote_rtp_port == 49170
    assert "a=rtcp-mux" in lines_of(agreed.session)
    assert not answer_to(offer(), MediaCapabilities(rtcp_mux=True)).media.rtcp_mux


def test_our_rtcp_port_is_stated_when_it_is_not_the_next(offer, answer_to):
    assert "a=rtcp:30001" in lines_of(answer_to(offer(), rtcp_port=30001).session)
    assert not any(
        line.startswith("a=rtcp") for line in lines_of(answer_to(offer(), rtcp_port=20001).session)
    )


def test_the_answers_time_is_the_offers(offer, answer_to):
    answer = answer_to(offer(("t=0 0", "t=2873397496 2873404696\nr=7d 1h 0 25h\nb=AS:64")))
    assert lines_of(answer.session)[4:6] == ["t=2873397496 2873404696", "r=7d 1h 0 25h"]


def test_our_offer_has_all_our_codecs():
    assert lines_of(make_offer(MediaCapabilities(rtcp_mux=True), **LOCAL))[5:] == [
        "m=audio 20000 RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=rtcp-mux",
        "a=sendrecv",
    ]


@pytest.mark.parametrize("codecs", [(PCMU, PCMA), (PCMA, PCMU), (PCMA,), (PCMU,)])
@pytest.mark.parametrize("mux", [False, True])
def test_both_ends_of_a_negotiation_see_the_same_stream(answer_to, codecs, mux: bool):
    capabilities = MediaCapabilities(codecs=codecs, rtcp_mux=mux)
    offered = make_offer(capabilities, address="192.0.2.10", rtp_port=4000, session_id=1, session_version=1)
    answer = answer_to(offered, capabilities)
    accepted = accept_answer(offered, answer.session, capabilities)
    assert accepted.codec == answer.media.codec == codecs[0].name
    assert accepted == replace(
        answer.media,
        remote_address="198.51.100.1",
        remote_rtcp_address="198.51.100.1",
        remote_rtp_port=20000,
        remote_rtcp_port=20000 if mux else 20001,
    )


def test_payload_types_may_differ_by_direction(offer):
    ours = make_offer(MediaCapabilities(), **LOCAL)
    theirs = offer(
        media="m=audio 4000 RTP/AVP 97 98\na=rtpmap:97 PCMA/8000\na=rtpmap:98 telephone-event/8000\n"
    )
    media = accept_answer(ours, theirs, MediaCapabilities())
    assert (media.codec, media.send_payload_type, media.receive_payload_type) == ("PCMA", 97, 8)
    assert media.telephone_event == TelephoneEventMedia(
        send_payload_type=98, receive_payload_type=101, clock_rate_hz=8000
    )


def test_an_answer_holds_us(offer):
    ours = make_offer(MediaCapabilities(), **LOCAL)
    assert (
        accept_answer(ours, offer(("a=ptime:20", "a=sendonly")), MediaCapabilities()).direction
        is Direction.RECVONLY
    )


def test_an_answer_that_gives_more_than_offered_is_cut_to_the_offer(offer):
    ours = make_offer(MediaCapabilities(), **LOCAL, direction=Direction.SENDONLY)
    assert accept_answer(ours, offer(), MediaCapabilities()).direction is Direction.SENDONLY


@pytest.mark.parametrize(
    ("media", "error"),
    [
        ("", AnswerMismatch),
        ("m=audio 4000 RTP/AVP 0\nm=audio 4002 RTP/AVP 0\n", AnswerMismatch),
        ("m=video 4000 RTP/AVP 0\n", AnswerMismatch),
        ("m=audio 0 RTP/AVP 0\n", NoCommonCodec),
        ("m=audio 4000 RTP/AVP 3\n", NoCommonCodec),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(offer, media: str, error: type[Exception]):
    with pytest.raises(error):
        accept_answer(make_offer(MediaCapabilities(), **LOCAL), offer(media=media), MediaCapabilities())


def test_a_codec_answered_that_we_carry_but_did_not_offer_is_refused(offer):
    ours = make_offer(MediaCapabilities(codecs=(PCMU,)), **LOCAL)
    with pytest.raises(NoCommonCodec):
        accept_answer(ours, offer(media="m=audio 4000 RTP/AVP 8\n"), MediaCapabilities())


def test_the_answer_reads_back_as_the_same_formats(offer, answer_to):
    session = answer_to(offer()).session
    again = SessionDescription.parse(session.to_bytes())
    assert again == session
    assert again.media[0].rtp_formats == (RtpMap(0, "PCMU", 8000), RtpMap(101, "telephone-event", 8000))


def test_our_description_moves_to_another_address_with_the_same_streams_and_types(offer, answer_to):
    """RFC 3264 §8: payload types keep their meaning, refused streams stay."""
    was = answer_to(
        offer(media="m=audio 49170 RTP/AVP 8 96\na=rtpmap:96 telephone-event/8000\nm=video 5000 RTP/AVP 31\n")
    ).session
    moved = move_offer(was, address="203.0.113.9", rtp_port=30000, rtcp_port=30007, session_version=2)
    assert lines_of(moved) == [
        "v=0",
        "o=- 7 2 IN IP4 203.0.113.9",
        "s=-",
        "c=IN IP4 203.0.113.9",
        "t=0 0",
        "m=audio 30000 RTP/AVP 8 96",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:96 telephone-event/8000",
        "a=fmtp:96 0-15",
        "a=ptime:20",
        "a=rtcp:30007",
        "a=sendrecv",
        "m=video 0 RTP/AVP 31",
    ]


def test_a_held_description_moves_as_sendrecv(offer, answer_to):
    """RFC 6337 §5.3: the side that holds says so again in its answer."""
    was = answer_to(offer(media="m=audio 49170 RTP/AVP 0\na=sendonly\n")).session
    assert "a=recvonly" in lines_of(was)
    moved = move_offer(was, address="203.0.113.9", rtp_port=30000, rtcp_port=None, session_version=2)
    assert "a=sendrecv" in lines_of(moved)
    assert "a=recvonly" not in lines_of(moved)


def test_a_description_without_audio_in_use_does_not_move():
    refused = SessionDescription.parse(b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 0 RTP/AVP 0\r\n")
    with pytest.raises(NoCommonCodec):
        move_offer(refused, address="203.0.113.9", rtp_port=30000, rtcp_port=None, session_version=2)


RENEWED = {"session_version": 2}


def numbers(session: SessionDescription, place: int = 0) -> dict[int, str]:
    """The payload types of a stream and what they mean, as far as that is said."""
    return {one.payload_type: one.encoding.lower() for one in session.media[place].rtp_formats}


def test_an_offer_within_a_session_keeps_its_streams_and_payload_types(offer, answer_to):
    theirs = offer(
        media="m=audio 5 RTP/SAVP 0\nm=audio 49170 RTP/AVP 8 96\na=rtpmap:96 telephone-event/8000\n"
        "m=image 5000 udptl t38\n"
    )
    was = answer_to(theirs, rtcp_port=20007).session
    renewed = renew_offer(was, theirs, MediaCapabilities(), **RENEWED)
    assert lines_of(renewed) == [
        "v=0",
        "o=- 7 2 IN IP4 198.51.100.1",
        "s=-",
        "c=IN IP4 198.51.100.1",
        "t=0 0",
        "m=audio 0 RTP/SAVP 0",
        "m=audio 20000 RTP/AVP 8 0 96",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:96 telephone-event/8000",
        "a=fmtp:96 0-15",
        "a=ptime:20",
        "a=rtcp:20007",
        "a=sendrecv",
        "m=image 0 udptl t38",
    ]


def test_a_held_session_is_offered_again_as_sendrecv(offer, answer_to):
    """RFC 6337 §5.3."""
    theirs = offer(("a=ptime:20", "a=sendonly"))
    was = answer_to(theirs).session
    assert "a=recvonly" in lines_of(was)
    assert "a=sendrecv" in lines_of(renew_offer(was, theirs, MediaCapabilities(), **RENEWED))


def test_what_an_offer_adds_has_the_peers_number_or_a_free_one(offer, answer_to):
    """The peer refused neither: its other codecs and our events come under numbers that mean nothing else."""
    theirs = offer(media="m=audio 4000 RTP/AVP 0 101 96\na=rtpmap:101 opus/48000/2\na=rtpmap:96 PCMA/8000\n")
    was = answer_to(theirs).session
    renewed = renew_offer(was, theirs, MediaCapabilities(), **RENEWED)
    assert numbers(renewed) == {0: "pcmu", 96: "pcma", 97: "telephone-event"}


@pytest.mark.parametrize("index", [0, 1])
def test_the_answer_to_an_offer_within_a_session_is_that_of_its_stream_in_use(offer, answer_to, index: int):
    streams = ["m=audio 5 RTP/SAVP 0\n", "m=audio 6 RTP/AVP 18\n"]
    streams[index] = "m=audio 49170 RTP/AVP 0 96\na=rtpmap:96 telephone-event/8000\n"
    theirs = offer(media="".join(streams))
    ours = renew_offer(answer_to(theirs).session, theirs, MediaCapabilities(), **RENEWED)
    zeroed = [line.replace(" 5 ", " 0 ").replace(" 6 ", " 0 ") for line in streams]
    media = accept_answer(ours, offer(media="".join(zeroed)), MediaCapabilities())
    assert (media.remote_rtp_port, media.codec) == (49170, "PCMU")
    assert media.telephone_event == TelephoneEventMedia(96, 96, 8000)


def test_an_answer_to_an_offer_without_audio_is_refused(offer):
    none = offer(media="m=audio 0 RTP/AVP 0\n")
    with pytest.raises(AnswerMismatch):
        accept_answer(none, none, MediaCapabilities())
    with pytest.raises(NoCommonCodec):
        renew_offer(none, none, MediaCapabilities(), **RENEWED)


payload_types = st.integers(96, 127)
maps = st.lists(
    st.tuples(
        payload_types, st.sampled_from(["PCMU/8000", "PCMA/8000", "telephone-event/8000", "opus/48000/2"])
    ),
    max_size=6,
    unique_by=lambda one: one[0],
)
extras = st.lists(st.sampled_from(["m=video 6 RTP/AVP 31", "m=audio 6 RTP/SAVP 0", "m=x"]), max_size=3)


@given(maps, extras, extras, st.booleans(), st.booleans())
def test_no_offer_within_a_session_changes_what_a_number_means(dynamic, before, after, has_events, mux):
    """RFC 3264 §8, §8.3.2, for any first offer and both of our next offers."""
    lines = "".join(f"a=rtpmap:{number} {name}\n" for number, name in dynamic)
    formats = " ".join(str(number) for number, _ in dynamic)
    text = "v=0\nc=IN IP4 192.0.2.1\n" + "\n".join(
        (*before, f"m=audio 4000 RTP/AVP {formats} 0", lines, *after)
    )
    theirs = SessionDescription.parse(text.encode())
    capabilities = MediaCapabilities(telephone_event=has_events, rtcp_mux=mux)
    was = answer_offer(theirs, capabilities, **LOCAL).session
    place = next(i for i, media in enumerate(was.media) if media.port)
    meant = {**numbers(theirs, place), **numbers(was, place)}
    renewed = renew_offer(was, theirs, capabilities, **RENEWED)
    moved = move_offer(renewed, address="203.0.113.9", rtp_port=3000, rtcp_port=None, session_version=3)
    for ours in (renewed, moved):
        offered = numbers(ours, place)
        assert [media.port > 0 for media in ours.media] == [media.port > 0 for media in was.media]
        assert all(meant.get(number, name) == name for number, name in offered.items())
        assert numbers(was, place).items() <= offered.items()
        assert len(set(offered.values())) == len(offered)
        assert SessionDescription.parse(ours.to_bytes()) == ours
