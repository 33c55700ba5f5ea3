"""Input of the edge: SIP requests, media events of relays, calls of dead edges, messages of live edges."""
