"""The relay's clock, what its ticks cost, and whether there is room for another call."""
