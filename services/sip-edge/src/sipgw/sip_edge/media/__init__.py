"""Media of calls: the relays that carry it, the commands sent to them, and SDP."""
