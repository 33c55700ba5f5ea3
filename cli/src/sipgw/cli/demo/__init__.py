"""`sipgw demo`: a real call through a whole gateway, shown as it happens."""
