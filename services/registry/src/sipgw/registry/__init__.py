"""Registry: CallRegistry, placement, config."""
