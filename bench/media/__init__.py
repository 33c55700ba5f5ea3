"""What media_capacity measures with: callers and a floor in C, and the arithmetic of what they say."""
