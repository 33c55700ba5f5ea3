"""The registry: the map of calls (CallRegistry), placement, the gateway config."""
