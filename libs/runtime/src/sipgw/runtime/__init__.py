"""The frame of every sipgw process: settings, lifecycle, probes, gRPC, telemetry."""
