"""What a step costs and what it buys, side by side in one run: time, growth, memory, errors."""
