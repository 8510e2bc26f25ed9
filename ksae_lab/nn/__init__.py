"""What networks are made of: selections, activations, layers, losses, forward beside backward."""
