"""What needs PyTorch: the networks, what they strive for, the loop that trains them, and their way out as ONNX."""
