"""The guard over HTTP: probes, metrics JSON of what is, and what people may change."""
