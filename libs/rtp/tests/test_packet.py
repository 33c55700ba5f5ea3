import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.rtp import HeaderExtension, RtpPacket, RtpParseError
from sipgw.rtp.packet import is_rtcp

PLAIN = bytes.fromhex("80e4123400000abcdeadbeef") + b"payload"

extensions = st.none() | st.builds(
    HeaderExtension,
    st.integers(0, 0xFFFF),
    st.integers(0, 8).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words)),
)
packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    marker=st.booleans(),
    payload=st.binary(max_size=200),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extension=extensions,
    padding=st.integers(0, 255),
)


def test_the_fields_of_a_plain_packet():
    packet = RtpPacket.parse(PLAIN)
    assert packet == RtpPacket(100, 0x1234, 0xABC, 0xDEADBEEF, marker=True, payload=b"payload")
    assert packet.to_bytes() == PLAIN


def test_sources_extension_and_padding_are_no_payload():
    data = bytes.fromhex("b200000100000002000000030000000a0000000bbede000110aa0000") + b"xyz" + b"\0\0\3"
    packet = RtpPacket.parse(data)
    assert packet.csrcs == (10, 11)
    assert packet.extension == HeaderExtension(0xBEDE, bytes.fromhex("10aa0000"))
    assert (packet.payload, packet.padding) == (b"xyz", 3)
    assert packet.to_bytes() == data


@given(packets)
def test_parsing_undoes_serialising(packet: RtpPacket):
    assert RtpPacket.parse(packet.to_bytes()) == packet


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 bytes"),
        (PLAIN[:11], "11 bytes"),
        (b"\x40" + PLAIN[1:], "version 1"),
        (b"\x8f" + PLAIN[1:], "15 contributing sources"),
        (b"\x90" + PLAIN[1:12], "extension is cut off"),
        (b"\x90" + PLAIN[1:12] + b"\0\0\0\2\0\0\0\0", "extension of 2 words"),
        (b"\xa0" + PLAIN[1:12], "0 bytes of padding, 0 there"),
        (b"\xa0" + PLAIN[1:12] + b"ab\0", "0 bytes of padding"),
        (b"\xa0" + PLAIN[1:12] + b"ab\4", "4 bytes of padding, 3 there"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(data: bytes, why: str):
    with pytest.raises(RtpParseError, match=why):
        RtpPacket.parse(data)


@given(st.binary(max_size=80), st.sampled_from([0x80, 0x90, 0xA0, 0xB3, 0xBF]))
def test_any_bytes_are_a_packet_or_a_parse_error(data: bytes, first: int):
    data = bytes([first]) + data
    try:
        packet = RtpPacket.parse(data)
    except RtpParseError:
        return
    assert len(packet.to_bytes()) == len(data)


@pytest.mark.parametrize(
    ("second", "expected"), [(200, True), (192, True), (223, True), (191, False), (224, False)]
)
def test_rtcp_is_told_apart_by_its_packet_type(second: int, expected: bool):
    assert is_rtcp(bytes([0x80, second, 0, 0])) is expected
    assert not is_rtcp(b"\x80")
