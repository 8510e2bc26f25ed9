"""From a gradient to a trained model: loop, optimizers, schedules, callbacks, gradient checks."""
