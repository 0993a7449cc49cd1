"""Step handlers, by what they touch."""
