"""What the cluster tests stand on: a cluster, the chart on it, faults for its pods, callers from outside."""
