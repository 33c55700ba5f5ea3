"""The relay's clock, the CPU that it costs, and whether there is room for another call."""
