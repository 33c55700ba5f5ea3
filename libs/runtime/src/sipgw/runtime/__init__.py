"""What every sipgw process needs around its work: settings, lifecycle, probes, gRPC, telemetry."""
