"""The command line, `ksae`: train, sweep, evaluate, encode, draw, export."""
