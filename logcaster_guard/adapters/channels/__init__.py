"""Who is told: one module or package for each channel."""
