"""What stands around each run of the tests: its estimate, its lines, and its order after a failure."""
