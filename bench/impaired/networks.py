"""Networks and phones that harm a caller's RTP: each turns even packets into those that reach the relay."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

PACKET_MS: Final = 20
PACKET_BYTES: Final = 160


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet of the caller's and the time of its arrival."""

    at_ms: float
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    payload_type: int = 0


Packets = list[Packet]
_NOISE: Final = bytes([69])
"""The level of the speech's own noise, -dBov."""
Impairment = Callable[[Packets], Packets]


def even_packets(payload: npt.NDArray[np.uint8]) -> Packets:
    """Return speech as a good phone on a good network sends it."""
    whole = len(payload) // PACKET_BYTES
    return [
        Packet(
            PACKET_MS * number + 2.0,
            (65_000 + number) & 0xFFFF,
            (0xFFFF_0000 + PACKET_BYTES * number) & 0xFFFF_FFFF,
            number == 0,
            payload[PACKET_BYTES * number : PACKET_BYTES * (number + 1)].tobytes(),
        )
        for number in range(whole)
    ]


def even(packets: Packets) -> Packets:
    """Change nothing."""
    return packets


def lose(share: float) -> Impairment:
    """Lose packets at random."""
    rng = random.Random(5)
    return lambda packets: [each for each in packets if rng.random() >= share]


def delay_some(every: int, late_ms: Callable[[], float]) -> Impairment:
    """Delay one packet in so many, so that others overtake it."""
    return lambda packets: [
        replace(each, at_ms=each.at_ms + (late_ms() if number % every == every // 2 else 0.0))
        for number, each in enumerate(packets)
    ]


def jitter(most_ms: float, *, keeps_order: bool) -> Impairment:
    """Delay each packet by 0 to `most_ms`, uniformly."""

    def impair(packets: Packets) -> Packets:
        rng = random.Random(3)
        arrived: Packets = []
        last = 0.0
        for each in packets:
            at = each.at_ms + rng.uniform(0, most_ms)
            last = at = max(at, last) if keeps_order else at
            arrived.append(replace(each, at_ms=at))
        return arrived

    return impair


def swap_neighbours(packets: Packets) -> Packets:
    """Swap each second packet with the next."""
    return [
        replace(each, at_ms=each.at_ms + (PACKET_MS + 1 if number % 2 else 0))
        for number, each in enumerate(packets)
    ]


def pause(at_ms: float, length_ms: float) -> Impairment:
    """Hold packets back for a while, then let them through at once."""
    return lambda packets: [
        replace(each, at_ms=max(each.at_ms, at_ms + length_ms) if each.at_ms >= at_ms else each.at_ms)
        for each in packets
    ]


def duplicate(packets: Packets) -> Packets:
    """Send every packet twice, the second time 10 ms later."""
    return [copy for each in packets for copy in (each, replace(each, at_ms=each.at_ms + 10))]


def leap(by: int, every: int = 150) -> Impairment:
    """Add `by` to the timestamps after every so many packets, the sequence unbroken and no marker."""
    return lambda packets: [
        replace(each, timestamp=(each.timestamp + by * (number // every)) & 0xFFFF_FFFF)
        for number, each in enumerate(packets)
    ]


def suppress_silence(*, marks: bool, stands: bool, tells: bool = False) -> Impairment:
    """Send nothing while the caller is silent (RFC 3551 §4.1).

    `stands`: the timestamp does not count the silence. `marks`: talk-spurts begin with the marker.
    `tells`: each ends with a packet of comfort noise (RFC 3389).
    """

    def impair(packets: Packets) -> Packets:
        return list(_talk_spurts(packets, marks=marks, stands=stands, tells=tells))

    return impair


def _talk_spurts(packets: Packets, *, marks: bool, stands: bool, tells: bool) -> Iterator[Packet]:
    sent, was_silent, hangover = 0, True, 0
    first = packets[0]
    for each in packets:
        hangover = 3 if _is_loud(each.payload) else hangover - 1
        is_noise = tells and hangover == 0
        if hangover > 0 or is_noise:
            yield replace(
                each,
                payload=_NOISE if is_noise else each.payload,
                payload_type=13 if is_noise else 0,
                sequence=(first.sequence + sent) & 0xFFFF,
                timestamp=(first.timestamp + PACKET_BYTES * sent) & 0xFFFF_FFFF if stands else each.timestamp,
                marker=marks and was_silent and not is_noise,
            )
            sent += 1
        was_silent = hangover <= 0


def drift(ppm: float) -> Impairment:
    """Let the caller's clock run fast by `ppm` millionths."""
    return lambda packets: [replace(each, at_ms=each.at_ms * (1 - ppm / 1e6)) for each in packets]


def chain(*impairments: Impairment) -> Impairment:
    """Apply several impairments, one after the other."""

    def impair(packets: Packets) -> Packets:
        for each in impairments:
            packets = each(packets)
        return packets

    return impair


def _is_loud(payload: bytes) -> bool:
    return min(byte & 0x7F for byte in payload) < 0x60


_RNG: Final = random.Random(9)
NETWORKS: Final[dict[str, Impairment]] = {
    "clean": even,
    **{f"loss {share} %": lose(share / 100) for share in (1, 3, 5, 10, 20)},
    **{f"jitter 0-{most} ms, in order": jitter(most, keeps_order=True) for most in (20, 40, 100)},
    **{f"jitter 0-{most} ms, overtaking": jitter(most, keeps_order=False) for most in (40, 100)},
    "every 10th 30-50 ms late": delay_some(10, lambda: _RNG.uniform(30, 50)),
    "every 2nd 45 ms late": delay_some(2, lambda: 45.0),
    "every 100th 60 ms late": delay_some(100, lambda: 60.0),
    "neighbours swapped": swap_neighbours,
    "every packet twice": duplicate,
    "one pause of 100 ms": pause(5000, 100),
    "one pause of 400 ms": pause(5000, 400),
    "one pause of 1 s": pause(5000, 1000),
    **{f"timestamps leap by {by / 8000:+} s": leap(by) for by in (8000, 40_000, -2400, -48_000)},
    "silence not sent": suppress_silence(marks=True, stands=False),
    "silence not sent, no marker": suppress_silence(marks=False, stands=False),
    "silence not sent, not counted": suppress_silence(marks=True, stands=True),
    "silence not sent or counted, no marker": suppress_silence(marks=False, stands=True),
    "silence not sent, comfort noise": suppress_silence(marks=True, stands=False, tells=True),
    "drift +200 ppm": drift(200),
    "drift -200 ppm": drift(-200),
    "loss 3 %, jitter 0-40 ms": chain(lose(0.03), jitter(40, keeps_order=False)),
}
