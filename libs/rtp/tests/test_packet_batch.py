"""Columns of headers equal the scalar oracle, whatever the bytes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgw.rtp.errors import RtpParseError
from sipgw.rtp.packet import HeaderExtension, RtpPacket
from sipgw.rtp.packet_batch import is_rtcp, parse_batch, write_headers

WIDTH = 256
packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    marker=st.booleans(),
    payload=st.binary(max_size=60),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extension=st.none()
    | st.builds(
        HeaderExtension,
        st.integers(0, 0xFFFF),
        st.integers(0, 8).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
    ),
    padding=st.integers(0, 20),
)


@st.composite
def mutated(draw):
    data = bytearray(draw(packets).to_bytes())
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


def columns_of(datagrams):
    array = np.full((len(datagrams), WIDTH), 0xAA, np.uint8)
    for row, datagram in zip(array, datagrams, strict=True):
        row[: len(datagram)] = np.frombuffer(datagram, np.uint8)
    return array, np.array([len(datagram) for datagram in datagrams], np.int32)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(packets.map(RtpPacket.to_bytes) | mutated() | st.binary(max_size=80), min_size=1, max_size=12)
)
def test_columns_equal_the_scalar_parser(datagrams):
    array, lengths = columns_of(datagrams)
    batch = parse_batch(array, lengths)
    for i, datagram in enumerate(datagrams):
        try:
            expected = RtpPacket.parse(datagram)
        except RtpParseError:
            assert not batch.valid[i]
            continue
        assert batch.valid[i]
        start, length = int(batch.payload_start[i]), int(batch.payload_length[i])
        assert (
            int(batch.payload_type[i]),
            bool(batch.marker[i]),
            int(batch.sequence[i]),
            int(batch.timestamp[i]),
            int(batch.ssrc[i]),
            datagram[start : start + length],
        ) == (
            expected.payload_type,
            expected.marker,
            expected.sequence,
            expected.timestamp,
            expected.ssrc,
            expected.payload,
        )


@given(st.lists(packets, min_size=1, max_size=8))
def test_written_headers_are_read_back_by_the_scalar_parser(wanted):
    out = np.zeros((len(wanted), 20), np.uint8)
    write_headers(
        out,
        payload_type=np.array([p.payload_type for p in wanted], np.uint8),
        marker=np.array([p.marker for p in wanted]),
        sequence=np.array([p.sequence for p in wanted], np.uint16),
        timestamp=np.array([p.timestamp for p in wanted], np.uint32),
        ssrc=np.array([p.ssrc for p in wanted], np.uint32),
    )
    for row, p in zip(out, wanted, strict=True):
        read = RtpPacket.parse(row.tobytes())
        assert (read.payload_type, read.marker, read.sequence, read.timestamp, read.ssrc) == (
            p.payload_type,
            p.marker,
            p.sequence,
            p.timestamp,
            p.ssrc,
        )


def test_rtcp_on_a_shared_port_is_told_by_its_packet_type():
    array, _ = columns_of([bytes([0x80, 200] + [0] * 20), bytes([0x80, 0x80] + [0] * 20)])
    assert is_rtcp(array).tolist() == [True, False]
