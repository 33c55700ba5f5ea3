"""The kit of the registry's tests."""
