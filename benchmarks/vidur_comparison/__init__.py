"""The simulator against vidur: the same traces through both schedulers, and the same steps."""
