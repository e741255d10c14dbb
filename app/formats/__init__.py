"""Networks in other formats than notations.

onnx_child     the program of the process that reads ONNX files, without PyTorch and without a secret
onnx_process   OnnxReader: such processes, kept warm, limited and replaced
uploads        ONNX files in a request
conversion     modules and files on the client's side, where they are one's own
"""
