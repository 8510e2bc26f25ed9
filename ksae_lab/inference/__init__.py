"""Codes by optimisation in place of one pass: thresholding, competition, pursuit."""
