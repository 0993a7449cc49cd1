"""Coverage-guided fuzzing; not part of the product, and needs atheris: `make fuzz`."""
