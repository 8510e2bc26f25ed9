"""From a file of settings to a stored model, a sweep, a table."""
