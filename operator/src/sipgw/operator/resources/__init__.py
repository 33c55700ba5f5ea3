"""Objects of Kubernetes as JSON: paths, manifests, and functions that read them."""
