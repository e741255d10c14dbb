"""Networks from other formats as architectures: ONNX files, and PyTorch modules on the side of whoever has them.

    protobuf, onnx_model         an ONNX file as it lies there, weights left where they are
    onnx_operators, onnx_calls, onnx_shapes  its nodes as operators, with shapes
    torch_export, torch_operators  a module's exported graph as operators
    operators, vocabulary        what both are turned into: one meaning for one thing, however it was spelled
    patterns, assembly           what several operators are together; the architecture

Nothing here but `torch_export` and `torch_operators` imports PyTorch.
"""
