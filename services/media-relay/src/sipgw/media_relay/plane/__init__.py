"""The media plane: each call's sockets, latch and destination, and the tick that moves all calls."""
