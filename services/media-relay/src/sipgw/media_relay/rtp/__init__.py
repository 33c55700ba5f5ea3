"""RTP and RTCP of all calls, as columns: received, queued and sent."""
