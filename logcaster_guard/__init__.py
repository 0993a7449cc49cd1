"""LogCaster Guard: finds a bad release and rolls it back."""

__version__ = "0.1.0"
