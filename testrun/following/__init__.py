"""The frame of each test run: its estimate, its lines, and freeing what a failed test left open."""
