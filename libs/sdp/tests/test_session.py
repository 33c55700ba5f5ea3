import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.sdp import (
    Attribute,
    Connection,
    Direction,
    MediaDescription,
    Origin,
    RtcpAddress,
    RtpMap,
    SdpLine,
    SdpParseError,
    SessionDescription,
)

# RFC 8866 §5, its example.
RFC_EXAMPLE = b"""v=0
o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1
s=Call to John Smith
i=SDP Offer #1
u=http://www.jdoe.example.com/home.html
e=Jane Doe <jane@jdoe.example.com>
p=+1 617 555-6011
c=IN IP4 198.51.100.1
t=0 0
m=audio 49170 RTP/AVP 0
m=audio 49180 RTP/AVP 0
m=video 51372 RTP/AVP 99
c=IN IP6 2001:db8::2
a=rtpmap:99 h263-1998/90000
"""


def parse(*lines: str) -> SessionDescription:
    head = ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "t=0 0")
    return SessionDescription.parse("\n".join((*head, *lines)).encode())


def test_the_rfc_example_comes_back_as_it_was():
    session = SessionDescription.parse(RFC_EXAMPLE)
    assert session.to_bytes() == RFC_EXAMPLE.replace(b"\n", b"\r\n")
    assert session.origin == Origin("jdoe", "3724394400", "3724394405", "198.51.100.1")
    assert [media.port for media in session.media] == [49170, 49180, 51372]
    assert session.connection_of(session.media[0]) == Connection("198.51.100.1")
    assert session.connection_of(session.media[2]) == Connection("2001:db8::2", "IP6")


@pytest.mark.parametrize("ending", ["\r\n", "\n", "\r", "\r\n\r\n"])
def test_any_line_ending_is_read(ending: str):
    text = RFC_EXAMPLE.decode().replace("\n", ending).encode()
    assert SessionDescription.parse(text) == SessionDescription.parse(RFC_EXAMPLE)


def test_unknown_lines_and_attributes_are_kept():
    session = parse(
        "q=what is this", "a=x-vendor:1 2;3", "m=audio 4000 RTP/AVP 0", "b=AS:64", "y=7", "a=x-flag"
    )
    assert SdpLine("q", "what is this") in session.other_lines
    assert Attribute("x-vendor", "1 2;3") in session.attributes
    assert session.media[0].other_lines == (SdpLine("b", "AS:64"), SdpLine("y", "7"))
    assert session.media[0].attributes == (Attribute("x-flag"),)
    assert SessionDescription.parse(session.to_bytes()) == session


def test_lines_out_of_order_are_written_in_the_order_of_the_rfc():
    session = SessionDescription.parse(
        b"v=0\ns=-\nt=0 0\na=x\nc=IN IP4 192.0.2.1\nb=AS:1\ni=hm\no=- 1 1 IN IP4 h\n"
    )
    letters = [line[:1] for line in session.to_bytes().decode().splitlines()]
    assert letters == list("vosicbta")


def test_missing_name_and_time_are_filled_in():
    session = SessionDescription.parse(b"v=0\no=- 1 1 IN IP4 192.0.2.1\n")
    assert session.to_bytes() == b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"


def test_bytes_that_are_no_utf8_come_back():
    data = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=caf\xe9\r\nt=0 0\r\n"
    assert SessionDescription.parse(data).to_bytes() == data


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"", 0, "begins with v=0"),
        (b"hello", 0, "begins with v=0"),
        (b"v=0\ns=-\n", 0, "o= is missing"),
        (b"v=0\r\nnot sdp", 0, "o= is missing"),
        (b"v=1\no=- 1 1 IN IP4 h\n", 1, "begins with v=0"),
        (b"o=- 1 1 IN IP4 h\nv=0\n", 1, "begins with v=0"),
        (b"v=0\no=- 1 1 IN IP4 h\nc=IN IP5 192.0.2.1\n", 3, "c= is"),
        (b"v=0\no=- 1 1 IN IP4 h\n\nm=audio x RTP/AVP 0\n", 4, "no port: 'x'"),
        (b"v=0\no=- 1 1 IN IP4 h\nm=audio 70000 RTP/AVP 0\n", 3, "no port"),
        (b"v=0\no=- 1 1 IN IP4 h\nm=audio 4000/0 RTP/AVP 0\n", 3, "no port"),
        (b"v=0\no=- 1 1 IN IP4 h\nm=audio\n", 3, "m= is"),
        (b"v=0\no=- 1 1 IN IP4 h\nm=audio 4000 RTP/AVP 0\nc=IN\n", 4, "c= is"),
        (b"v=0\no=- 1 1 IN IP4 h\nc=\nm=audio 4000 RTP/AVP 0\n", 3, "c= is"),
    ],
)
def test_what_is_no_description_is_refused_with_its_line(data: bytes, line: int, says: str):
    with pytest.raises(SdpParseError, match="SDP") as caught:
        SessionDescription.parse(data)
    assert caught.value.line == line
    assert says in caught.value.problem
    assert caught.value.sip_status == 400


@pytest.mark.parametrize(
    ("line", "origin"),
    [
        ("o=- 1 2 IN IP4 192.0.2.1 ", Origin("-", "1", "2", "192.0.2.1")),
        ("o=John Q Smith 1 2 IN IP4 192.0.2.1", Origin("John Q Smith", "1", "2", "192.0.2.1")),
        ("o=IN 1 2 IN IP6 ::1", Origin("IN", "1", "2", "::1", "IP6")),
        ("o=1 2 IN IP4 192.0.2.1", Origin("-", "1", "2", "192.0.2.1")),
        ("o=- 1 2 IN IP4 192.0.2.1 more words", Origin("-", "1", "2", "192.0.2.1")),
        ("o=- 1 2 IN IP4", Origin("-", "1", "2", "0.0.0.0")),
        ("o=- 1 2 IN", Origin("-", "1", "2", "0.0.0.0")),
        ("o=7", Origin("-", "7", "0", "0.0.0.0")),
        ("o=", Origin("-", "0", "0", "0.0.0.0")),
        ("b=AS:1", Origin("-", "0", "0", "0.0.0.0")),
    ],
)
def test_an_odd_origin_costs_nothing(line: str, origin: Origin):
    session = SessionDescription.parse(f"v=0\n{line}\nm=audio 4000 RTP/AVP 0\n".encode())
    assert (session.origin, session.media[0].port) == (origin, 4000)
    assert SessionDescription.parse(session.to_bytes()) == session


BLANKS = [" ", "\t", " \t ", "\0", "\0\0 ", "\x0b", "\u00a0"]


@pytest.mark.parametrize("blank", BLANKS)
def test_blanks_and_nuls_at_the_ends_of_lines_mean_nothing(blank: str):
    text = RFC_EXAMPLE.decode() + "a=sendonly\na=rtcp-mux\na=rtcp:53020 IN IP6 2001:db8::3\na=ptime:30\n"
    plain = SessionDescription.parse(text.encode())
    assert SessionDescription.parse(text.replace("\n", f"{blank}\r\n").encode()) == plain
    assert SessionDescription.parse((text + blank).encode()) == plain
    assert plain.direction_of(plain.media[2]) is Direction.SENDONLY


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(
    "style", ["a={} ", "a= {}", "a={}\t", "a={}\0", "a={}:", "a={} : ", " a={}", "a ={}", "a={}"]
)
def test_a_direction_counts_however_it_is_spaced(direction: Direction, style: str):
    for spelled in (direction.value, direction.value.upper()):
        session = parse("m=audio 4000 RTP/AVP 0", style.format(spelled))
        assert session.direction_of(session.media[0]) is direction


@pytest.mark.parametrize(
    "junk",
    ["hello", "--boundary--", "\0", "=", "a", "1=x", "ä=x", "a: b", "candidate:1 1 udp", "  ", "\ufeff"],
)
def test_a_line_that_is_none_costs_nothing(junk: str):
    lines = ("c=IN IP4 192.0.2.1", "m=audio 4000 RTP/AVP 0 8", "a=ptime:30", "a=sendonly")
    whole = parse(*lines)
    for place in range(len(lines) + 1):
        assert parse(*lines[:place], junk, *lines[place:]) == whole


@pytest.mark.parametrize(
    "line", ["m=video", "m=video x RTP/AVP 31", "m=", "m=image 70000 udptl t38", "m=text 5/0 RTP/AVP 98"]
)
def test_a_stream_that_is_no_audio_keeps_its_place_however_malformed(line: str):
    session = parse("c=IN IP4 192.0.2.1", line, "c=IN IP5 x", "m=audio 4000 RTP/AVP 0")
    assert [media.port for media in session.media][1] == 4000
    assert SessionDescription.parse(session.to_bytes()) == session


def test_a_byte_order_mark_costs_nothing():
    assert SessionDescription.parse(b"\xef\xbb\xbf" + RFC_EXAMPLE) == SessionDescription.parse(RFC_EXAMPLE)


def test_a_malformed_connection_that_no_audio_needs_costs_nothing():
    session = parse("c=IN", "m=audio 4000 RTP/AVP 0", "c=IN IP4 192.0.2.1")
    assert session.connection_of(session.media[0]) == Connection("192.0.2.1")


def test_static_payload_types_need_no_rtpmap():
    (media,) = parse("m=audio 4000 RTP/AVP 0 8 9 96").media
    assert [(one.payload_type, one.encoding) for one in media.rtp_formats] == [
        (0, "PCMU"),
        (8, "PCMA"),
        (9, "G722"),
    ]


@pytest.mark.parametrize(
    "rtpmap",
    [
        "",
        ":",
        ":96",
        ":96 ",
        ":96 /8000",
        ":96 opus",
        ":96 opus/",
        ":96 opus/x",
        ":96 opus/-1",
        ":96 opus/0",
        ":96 opus/48000/0",
        ":96 opus/48000/2/3",
        ":x opus/48000",
        ":128 opus/48000",
        ":99999999999999999999 a/1",
        ":96 opus/٤٨",
        ":96 opus/4_8",
        ": opus/48000",
        ":\x00",
    ],
)
def test_a_malformed_rtpmap_makes_its_own_format_unusable_and_no_other(rtpmap: str):
    (media,) = parse(
        "m=audio 4000 RTP/AVP 96 0 97", f"a=rtpmap{rtpmap}", "a=rtpmap:97 telephone-event/8000"
    ).media
    assert [one.payload_type for one in media.rtp_formats] == [0, 97]


def test_a_malformed_rtpmap_of_a_static_type_leaves_its_static_meaning():
    (media,) = parse("m=audio 4000 RTP/AVP 0", "a=rtpmap:0 PCMU").media
    assert media.rtp_formats == (RtpMap(0, "PCMU", 8000),)


def test_an_rtpmap_overrides_the_static_meaning():
    (media,) = parse("m=audio 4000 RTP/AVP 0", "a=rtpmap:0 L16/44100/2").media
    assert media.rtp_formats == (RtpMap(0, "L16", 44100, 2),)


@pytest.mark.parametrize(
    ("line", "ptime"),
    [("20", 20), (" 30 ", 30), ("20.0", 20), ("0", None), ("x", None), ("", None), ("-20", None)],
)
def test_ptime_is_a_number_or_nothing(line: str, ptime: int | None):
    (media,) = parse("m=audio 4000 RTP/AVP 0", f"a=ptime:{line}", "a=maxptime:40").media
    assert (media.ptime_ms, media.maxptime_ms) == (ptime, 40)


@pytest.mark.parametrize(
    ("line", "rtcp"),
    [
        ("a=rtcp:53020", RtcpAddress(53020)),
        ("a=rtcp:53020 IN IP4 192.0.2.9", RtcpAddress(53020, "192.0.2.9")),
        ("a=rtcp:53020 IN IP6 2001:db8::9", RtcpAddress(53020, "2001:db8::9")),
        ("a=rtcp:0", None),
        ("a=rtcp:x", None),
        ("a=rtcp", None),
        ("a=rtcp-mux", None),
    ],
)
def test_rtcp_attribute_is_an_address_or_nothing(line: str, rtcp: RtcpAddress | None):
    (media,) = parse("m=audio 4000 RTP/AVP 0", line).media
    assert media.rtcp == rtcp
    assert media.has_rtcp_mux == (line == "a=rtcp-mux")


def test_the_streams_own_direction_beats_the_sessions():
    session = parse("a=sendonly", "m=audio 1 RTP/AVP 0", "m=audio 2 RTP/AVP 0", "a=inactive")
    assert [session.direction_of(media) for media in session.media] == [
        Direction.SENDONLY,
        Direction.INACTIVE,
    ]


@pytest.mark.parametrize("direction", list(Direction))
def test_reversing_a_direction_twice_changes_nothing(direction: Direction):
    assert direction.reversed.reversed is direction
    assert direction.within(Direction.SENDRECV) is direction
    assert direction.within(Direction.INACTIVE) is Direction.INACTIVE


words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12)
values = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=0, max_size=30).map(
    str.strip
)
attributes = st.lists(
    st.builds(Attribute, words, st.none() | values).filter(lambda one: ":" not in one.name), max_size=4
).map(tuple)
connections = (
    st.none()
    | st.builds(Connection, st.ip_addresses(v=4).map(str))
    | st.builds(Connection, st.ip_addresses(v=6).map(str), st.just("IP6"))
)


def kept_lines(letters: str) -> st.SearchStrategy[tuple[SdpLine, ...]]:
    return st.sets(st.sampled_from(letters)).flatmap(
        lambda some: st.tuples(
            *(st.builds(SdpLine, st.just(letter), values) for letter in sorted(some, key="iuepbtzkqx".index))
        )
    )


media_descriptions = st.builds(
    MediaDescription,
    words.map(str.lower),
    st.integers(0, 65535),
    words,
    st.lists(words, max_size=5).map(tuple),
    connections,
    attributes,
    kept_lines("ibkx"),
    st.integers(1, 9),
)
sessions = st.builds(
    SessionDescription,
    st.builds(Origin, words, words, words, words, st.sampled_from(["IP4", "IP6"])),
    values,
    connections,
    attributes,
    st.lists(media_descriptions, max_size=3).map(tuple),
    kept_lines("iuepbzkq").map(
        lambda lines: tuple(
            sorted((*lines, SdpLine("t", "0 0")), key=lambda line: "iuepbtzkqx".index(line.letter))
        )
    ),
)


@given(sessions)
def test_parsing_undoes_serialising(session: SessionDescription):
    assert SessionDescription.parse(session.to_bytes()) == session
