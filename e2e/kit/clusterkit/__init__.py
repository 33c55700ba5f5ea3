"""The kit of the cluster tests: a cluster, the chart on it, faults for its pods, callers from outside."""
