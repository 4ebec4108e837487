"""Encoder and decoder as graphs, for compiling, ONNX and torch.export."""
