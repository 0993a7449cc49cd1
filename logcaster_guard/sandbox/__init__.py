"""A small embedded world: Kubernetes API server, node, network, traffic."""
