"""What texts mean, for a server without a model: vectors, classes, and their bytes. Knows no requests."""
