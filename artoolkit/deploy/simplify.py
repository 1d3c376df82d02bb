"""Removal of what the exporter leaves behind: constants computed at run time, no-ops, dead nodes.

By the passes of onnx_ir and onnxscript that decide by shapes and operators alone. Their optimisers
as a whole, the exporter's too, look at values: they drop a bias that is zero and merge initialisers
that are equal, so that two checkpoints of one network would take two paths.
"""

from __future__ import annotations

import sys
from collections.abc import Collection

import onnx


def simplified(model: onnx.ModelProto, trained: Collection[str]) -> onnx.ModelProto:
    """A copy of `model` without what is constant, does nothing or is read by nobody.

    Initialisers in `trained` are no constants, apart from their shapes.
    """
    import onnx_ir
    from onnx_ir.passes import Sequential, common
    from onnxscript.optimizer import fold_constants

    def is_constant(node: onnx_ir.Node) -> bool:
        return not any(value is not None and value.name in trained for value in node.inputs)

    # Without the shapes between the nodes, sizes computed from them stay in the graph (torch.roll).
    graph = onnx_ir.from_proto(onnx.shape_inference.infer_shapes(model, data_prop=True))
    # No limit of size: a constant that is left out is computed again for every image.
    fold_constants(graph, output_size_limit=sys.maxsize, should_fold=is_constant)
    Sequential(
        common.IdentityEliminationPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.RemoveUnusedNodesPass(),
    )(graph)
    result: onnx.ModelProto = onnx_ir.to_proto(graph)
    del result.graph.value_info[:]
    return result
