"""The parts of media_capacity: callers and a floor in C, and the arithmetic of their figures."""
