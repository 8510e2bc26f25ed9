"""Exact top-k training for the price of what is active: compiled, idle units caught up."""
