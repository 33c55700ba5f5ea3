"""The kit of the edge's tests: a SIP caller, edges in this process, stand-ins for relay and registry."""
