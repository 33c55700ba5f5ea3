"""A day of the gateway in a second or ten: the operator's own plan() beside a rule like the HPA's."""
