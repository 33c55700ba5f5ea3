"""RTP ports: the pool, its address, and the other users of ports on the machine."""
