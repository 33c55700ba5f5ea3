"""RTP ports: the pool, its address, and what else on the machine may take them."""
