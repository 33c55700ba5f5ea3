"""Requests within a call."""
