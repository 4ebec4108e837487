"""The networks of an exported tokenizer in 8 bits: a quarter of the weights to read for a chunk.

What is 8 bits wide afterwards are the networks' matrices and what is multiplied by them. The linear
path, the codebooks and the way to physical units stay as they are, so that it costs a share of what
the network adds to the linear path, which is little.
"""

from __future__ import annotations

from pathlib import Path

NETWORK = ".network."
"""In the names of all weights of a `ResidualNetwork`."""


def quantize_networks(file: Path) -> None:
    """Rewrite an ONNX file with its networks' matrices in 8 bits, a scale for every column.

    Their inputs are quantised as they come, with one scale for all chunks of a batch: what a chunk
    decodes to depends, within rounding, on the others. A file without networks stays as it is.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(file)
    layers = [
        node.name
        for node in model.graph.node
        if node.op_type == "Gemm" and any(NETWORK in name for name in node.input)
    ]
    if not layers:
        return
    # onnxruntime makes a matrix product of every Gemm first, under this name.
    products = [f"{name}_MatMul" for name in layers]
    quantize_dynamic(
        model, file, nodes_to_quantize=products, per_channel=True, weight_type=QuantType.QInt8
    )
