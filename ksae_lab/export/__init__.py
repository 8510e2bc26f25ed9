"""Leaving: models in the formats of SAELens, ONNX and Keras."""
