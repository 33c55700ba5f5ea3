"""Transactions: the state machines of RFC 3261 §17 as tables, and the layer that runs them."""
