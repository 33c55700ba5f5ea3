"""Objects of Kubernetes as JSON: paths, manifests, and what is read from them."""
