"""bfloat16: the products of a frozen graph in half the bits, everything between them in float32."""

from typing import Any

__all__ = ["in_bfloat16"]

# What GPUs and CPUs have units for, and where nearly all the time goes. Sums over space, normalisation
# and activations stay in float32, so that errors do not add up: the rule of TensorFlow's and PyTorch's own autocast.
_PRODUCTS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")


def in_bfloat16(function: Any) -> Any:
    """Rewrite a frozen concrete function so that its products take and give bfloat16.

    Args:
        function: TensorFlow concrete function of constants, (N, H, W, 3) → (N, D) float32.

    Returns:
        A concrete function of the same signature.
    """
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()
    whole = function.graph.as_graph_def()
    graph.versions.CopyFrom(whole.versions)
    graph.library.CopyFrom(whole.library)
    real = tf.float32.as_datatype_enum
    for node in whole.node:
        if node.op in _PRODUCTS and node.attr["T"].type == real:
            _add_product(graph, node, real, short=tf.bfloat16.as_datatype_enum)
        else:
            graph.node.add().CopyFrom(node)
    ends = function.inputs[0].name, [output.name for output in function.outputs]
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    return wrapped.prune(*ends)


def _add_product(graph: Any, node: Any, real: int, *, short: int) -> None:
    """Add a product with casts before and after; whoever read it goes on reading its name."""
    product = graph.node.add()
    product.CopyFrom(node)
    product.name = f"{node.name}/bfloat16"
    product.attr["T"].type = short
    for at, name in enumerate(node.input):
        if not name.startswith("^"):
            product.input[at] = f"{node.name}/bfloat16_input_{at}"
            _add_cast(graph, product.input[at], name, given=real, wanted=short)
    _add_cast(graph, node.name, product.name, given=short, wanted=real)


def _add_cast(graph: Any, name: str, source: str, *, given: int, wanted: int) -> None:
    cast = graph.node.add(name=name, op="Cast", input=[source])
    cast.attr["SrcT"].type = given
    cast.attr["DstT"].type = wanted
