"""For tests: a SIP caller under the test's command, and stand-ins for relay and registry. Nothing of it is
shipped.
"""
