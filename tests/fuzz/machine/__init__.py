"""A model of the store in plain Python, and the means to hold the store against it."""
