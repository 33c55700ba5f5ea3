"""Requests inside a call."""
