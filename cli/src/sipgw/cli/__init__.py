"""The sipgw command."""
