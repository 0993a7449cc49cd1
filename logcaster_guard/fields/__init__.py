"""What a key of the configuration may hold: kinds of values, their notations, and why one is refused."""
