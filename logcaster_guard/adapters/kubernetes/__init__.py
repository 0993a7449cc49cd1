"""The Kubernetes API: object access, signals, events, permissions."""
