"""Codes once weights stand: kept without their zeros, or found by optimisation."""
