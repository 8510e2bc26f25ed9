"""Exact top-k training for the price of what is active: compiled, and caught up where it was idle."""
