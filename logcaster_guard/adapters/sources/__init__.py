"""Where signals are read: one module or package for each source."""
