"""The other edges: who lives, and messages handed to the edge that owns a call."""
