"""The frame of each test run: its estimate, its lines, and the release of a failed test's resources."""
