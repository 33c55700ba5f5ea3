"""What `make test` says while it runs: an estimate first, then each test by its name."""
