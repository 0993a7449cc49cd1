"""The guard over HTTP: probes, metrics and read-only JSON."""
