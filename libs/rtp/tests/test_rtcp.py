import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    build_rtcp,
    middle_32_bits,
    ntp_timestamp,
    parse_rtcp,
    round_trip_s,
)

u32 = st.integers(0, 0xFFFFFFFF)
blocks = st.lists(
    st.builds(ReportBlock, u32, st.integers(0, 255), st.integers(-0x800000, 0x7FFFFF), u32, u32, u32, u32),
    max_size=31,
).map(tuple)
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=60)
rtcp_packets = st.one_of(
    st.builds(SenderReport, u32, st.integers(0, 2**64 - 1), u32, u32, u32, blocks),
    st.builds(ReceiverReport, u32, blocks),
    st.builds(SourceDescription, u32, texts),
    st.builds(Goodbye, st.lists(u32, max_size=31).map(tuple), texts),
)
REPORT = ReceiverReport(7, (ReportBlock(9, 64, -3, 70_000, 12, 0x11112222, 65536),))


@given(st.lists(rtcp_packets, max_size=4))
def test_parsing_undoes_building(packets):
    data = build_rtcp(packets)
    assert len(data) % 4 == 0
    assert parse_rtcp(data) == packets


def test_a_receiver_report_byte_by_byte():
    assert build_rtcp([REPORT]) == bytes.fromhex(
        "81c90007000000070000000940fffffd000111700000000c1111222200010000"
    )


def test_unknown_packets_and_items_are_passed_over():
    application = bytes.fromhex("80cc00020000000174657374")
    description = (
        bytes.fromhex("82ca0008000000010203")
        + b"bob"
        + bytes.fromhex("0102")
        + b"me\0"
        + (b"\0\0" + bytes.fromhex("000000020101") + b"x\0\0\0\0\0\0\0\0\0")
    )
    assert parse_rtcp(application + description + build_rtcp([REPORT])) == [
        SourceDescription(1, "me"),
        SourceDescription(2, "x"),
        REPORT,
    ]


def test_what_comes_before_a_malformed_packet_is_read():
    good = build_rtcp([REPORT, Goodbye((7,), "done")])
    assert parse_rtcp(good + b"\x81\xc9\xff\xff") == parse_rtcp(good)
    assert parse_rtcp(good + b"\x41\xc9\x00\x00") == parse_rtcp(good)
    assert parse_rtcp(good[:-1]) == [REPORT]


def test_a_packet_that_counts_more_than_it_has_is_left_out():
    short_sender_report = bytes.fromhex("80c8000100000007")
    assert parse_rtcp(short_sender_report + build_rtcp([REPORT])) == [REPORT]
    fewer_blocks = bytes([0x9F]) + build_rtcp([REPORT])[1:]
    assert parse_rtcp(fewer_blocks) == [REPORT]


def test_padding_is_no_content():
    data = bytearray(build_rtcp([Goodbye((7,))]))
    padded = bytes([data[0] | 0x20, data[1], 0, 2]) + bytes(data[4:]) + b"\0\0\0\4"
    assert parse_rtcp(padded) == [Goodbye((7,))]


@given(st.binary(max_size=120), st.integers(200, 204), st.integers(0x80, 0xBF))
def test_any_bytes_are_read_without_an_error(data: bytes, packet_type: int, first: int):
    parse_rtcp(data)
    parse_rtcp(bytes([first, packet_type, 0, len(data) // 4]) + data)


def test_a_long_name_is_cut_at_a_character():
    (description,) = parse_rtcp(build_rtcp([SourceDescription(1, "ä" * 200)]))
    assert description == SourceDescription(1, "ä" * 127)


def test_ntp_timestamps():
    assert ntp_timestamp(0) == 2_208_988_800 << 32
    assert ntp_timestamp(1500) == (2_208_988_801 << 32) + (1 << 31)


def test_the_round_trip_of_the_rfcs_example():
    # RFC 3550 figure 2: SR at b44db705:2000..., received back at b7108000 after 5.25 s at the peer.
    block = ReportBlock(
        1, 0, 0, 0, 0, last_sender_report=0xB7052000, delay_since_last_sender_report=0x00054000
    )
    assert round_trip_s(block, 0xB710_8000 << 16) == pytest.approx(6.125)
    assert middle_32_bits(0x12345678_9ABCDEF0) == 0x56789ABC


def test_a_round_trip_without_report_or_against_time_is_none():
    assert round_trip_s(ReportBlock(1, 0, 0, 0, 0), 5 << 32) is None
    assert round_trip_s(ReportBlock(1, 0, 0, 0, 0, 0x00050000, 0x00010000), 5 << 32) is None
