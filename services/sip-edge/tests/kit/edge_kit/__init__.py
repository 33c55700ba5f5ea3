"""What the edge's tests share: a SIP caller, edges in this process, stand-ins for relay and registry."""
