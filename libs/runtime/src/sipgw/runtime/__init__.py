"""What every sipgw process does around its work."""
