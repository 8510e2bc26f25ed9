"""How good a reconstruction is, what a code costs and what can be read off it."""
