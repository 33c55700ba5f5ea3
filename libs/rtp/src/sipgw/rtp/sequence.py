"""Serial arithmetic (RFC 1982): numbers of 16 bits (RTP sequence) and 32 bits (timestamp) that wrap."""


def sequence_delta(newer: int, older: int) -> int:
    """Return how far ``newer`` is ahead, from -32768 to 32767."""
    return _delta(newer, older, 16)


def timestamp_delta(newer: int, older: int) -> int:
    """Return how far ``newer`` is ahead, from -2**31 to 2**31 - 1."""
    return _delta(newer, older, 32)


def _delta(newer: int, older: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return ((newer - older + half) & ((1 << bits) - 1)) - half
