"""Callers' packets in and out, as columns."""
