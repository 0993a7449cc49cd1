"""What the guard decides, as pure values and functions: no clock, no I/O, no client library."""
