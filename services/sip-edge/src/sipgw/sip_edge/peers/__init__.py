"""The other edges: which are alive, and delivery of messages to the edge that owns a call."""
