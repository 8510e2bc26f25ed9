"""Data sets by name or from the reader's own files, split the same way every time."""
