"""Generated protobuf and gRPC stubs of sipgw."""
