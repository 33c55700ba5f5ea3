"""Who the edge talks to: relays, other edges."""
