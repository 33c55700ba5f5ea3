"""The operator: custom resources to the registry's config, relay sizing and drain, certificates, status."""
