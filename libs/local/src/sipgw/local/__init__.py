"""The supervisor behind sipgw up."""
