"""What a SavedModel would run: its operations, and which of them no frozen network needs.

A SavedModel is a program, and TensorFlow runs it with the rights of whoever loads it: TensorFlow's own SECURITY.md says
so. What computes with tensors in memory stands in the list here; what reaches files, network, other processes or Python
does not, and neither does what nobody has looked at. What writes and reads a model's own variables is in every
SavedModel; it is never run here where only its saver leads to it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from extract.errors import ModelMismatch

__all__ = ["ALLOWED", "operations_of"]

# Numbers in, numbers out; random numbers too, which layers that train draw.
_COMPUTING = """
Abs Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D
BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchNormWithGlobalNormalization BatchToSpace BatchToSpaceND Betainc BiasAdd
BiasAddV1 Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs BroadcastTo Bucketize Cast Ceil CheckNumerics
ClipByValue Complex ComplexAbs Concat ConcatOffset ConcatV2 Conj Conv Conv2D Conv2DBackpropInput Conv3D
Conv3DBackpropInputV2 Cos Cosh CropAndResize Cross Cumprod Cumsum CumulativeLogsumexp DataFormatDimMap
DataFormatVecPermute DenseBincount DepthToSpace DepthwiseConv2dNative DepthwiseConv2dNativeBackpropInput Dequantize Diag
DiagPart Digamma Dilation2D Div DivNoNan Einsum Elu Empty EnsureShape Equal Erf Erfc Erfinv Exp ExpandDims Expm1
ExtractImagePatches FFT FFT2D FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill
Floor FloorDiv FloorMod FractionalAvgPool FractionalMaxPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
FusedPadConv2D FusedResizeAndPadConv2D Gather GatherNd GatherV2 Greater GreaterEqual HSVToRGB IFFT IFFT2D IRFFT IRFFT2D
Igamma Igammac Imag InTopK InTopKV2 InplaceAdd InplaceSub InplaceUpdate Inv Invert InvertPermutation IsFinite IsInf
IsNan L2Loss LRN LeakyRelu LeftShift Less LessEqual Lgamma LinSpace ListDiff Log Log1p LogSoftmax LogicalAnd LogicalNot
LogicalOr LowerBound MatMul MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3
MatrixDiagV2 MatrixDiagV3 MatrixInverse MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve Max MaxPool MaxPool3D
MaxPoolV2 MaxPoolWithArgmax Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan Multinomial Ndtri Neg NextAfter
NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NotEqual OneHot
OnesLike Pack Pad PadV2 ParallelConcat ParallelDynamicStitch DynamicPartition DynamicStitch ParameterizedTruncatedNormal
Polygamma PopulationCount Pow Prod Qr QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
QuantizeAndDequantizeV4 QuantizeV2 QuantizedAdd QuantizedAvgPool QuantizedBiasAdd QuantizedConcat QuantizedConv2D
QuantizedMatMul QuantizedMaxPool QuantizedMul QuantizedRelu QuantizedRelu6 QuantizedReshape RFFT RFFT2D RGBToHSV
RandomGamma RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt Range Rank Real RealDiv Reciprocal Relu
Relu6 Requantize RequantizationRange Reshape ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor Reverse
ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt ScaleAndTranslate ScatterNd ScatterNdNonAliasingAdd
SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size
Slice Snapshot Softmax Softplus Softsign SpaceToBatch SpaceToBatchND SpaceToDepth SparseToDense Split SplitV Sqrt Square
SquaredDifference Squeeze StatelessMultinomial StatelessRandomGetAlg StatelessRandomGetKeyCounter
StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform
StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormal
StatelessTruncatedNormalV2 StridedSlice Sub Sum Svd Tan Tanh TensorScatterAdd TensorScatterMax TensorScatterMin
TensorScatterSub TensorScatterUpdate Tile TopK TopKV2 Transpose TruncateDiv TruncateMod TruncatedNormal Unique UniqueV2
UniqueWithCounts Unpack UnravelIndex UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum
UpperBound Where Xdivy Xlog1py Xlogy ZerosLike Zeta
AdjustContrastv2 AdjustHue AdjustSaturation DecodeAndCropJpeg DecodeBase64 DecodeBmp DecodeGif DecodeImage DecodeJpeg
DecodePng DecodeRaw DrawBoundingBoxes ExtractJpegShape SampleDistortedBoundingBox SampleDistortedBoundingBoxV2
"""

# The shape of a program, and what it keeps in memory.
_FLOW = """
Assert Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp Case Const ControlTrigger
DeepCopy DestroyResourceOp DisableCopyOnRead Enter Exit FakeParam For Identity IdentityN If IsVariableInitialized
LoopCond Merge NextIteration NoOp PartitionedCall Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient
ReadVariableOp RefEnter RefExit RefIdentity RefMerge RefNextIteration RefSelect RefSwitch ResourceGather
StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile StopGradient Switch VarHandleOp VarIsInitializedOp
Variable VariableShape VariableV2 While
EmptyTensorList TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem
TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatterV2
TensorListSetItem TensorListSplit TensorListStack
TensorArrayCloseV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArrayV3
TensorArrayWriteV3
HashTable HashTableV2 LookupTableExportV2 LookupTableFind LookupTableFindV2 LookupTableImportV2 LookupTableInsertV2
LookupTableSize LookupTableSizeV2 MutableHashTable MutableHashTableV2
AsString RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin StringLength
StringLower StringSplit StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast StringToHashBucketStrong
StringToNumber StringUpper Substr
"""

ALLOWED = frozenset(f"{_COMPUTING} {_FLOW}".split())


def operations_of(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Return which operations a SavedModel would run, and which of those are outside of the list, with their numbers.

    Args:
        folder: holds `saved_model.pb`.

    Raises:
        ModelMismatch: that file is not what TensorFlow writes.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path, saved = folder / "saved_model.pb", SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelMismatch(f"{path}: not a SavedModel's graph, or cut off: {error}.") from error
    run: Counter[str] = Counter()
    for graph in saved.meta_graphs:
        run += _run_by(graph)
    return run, Counter({name: number for name, number in run.items() if name not in ALLOWED})


def _run_by(graph: Any) -> Counter[str]:
    """Count the operations of a MetaGraphDef, without those that only its saver leads to."""
    nodes = {node.name: node for node in graph.graph_def.node}
    functions = {function.signature.name: list(function.node_def) for function in graph.graph_def.library.function}
    saver = graph.saver_def
    of_saver = _ancestors([saver.save_tensor_name, saver.restore_op_name], nodes)
    asked = [info.name for signature in graph.signature_def.values() for info in signature.outputs.values()]
    asked += [name for collection in graph.collection_def.values() for name in collection.node_list.value]
    of_signatures = _ancestors(asked, nodes)
    run = [node for name, node in nodes.items() if name not in of_saver or name in of_signatures]
    saving = _called([nodes[name] for name in of_saver], functions)
    # A function of the saver that others call is run as any other.
    free = [function for name, function in functions.items() if name not in saving]
    called = _called([*run, *(node for function in free for node in function)], functions)
    bodies = [functions[name] for name in functions if name not in saving or name in called]
    return Counter(node.op for node in [*run, *(node for body in bodies for node in body)])


def _ancestors(tensors: Iterable[str], nodes: Mapping[str, Any]) -> set[str]:
    """Return the names of the nodes that these tensors are computed from, their own included."""
    found: set[str] = set()
    waiting = [name.removeprefix("^").partition(":")[0] for name in tensors]
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in found:
            found.add(name)
            waiting += [text.removeprefix("^").partition(":")[0] for text in nodes[name].input]
    return found


def _called(nodes: Iterable[Any], functions: Mapping[str, list[Any]]) -> set[str]:
    """Return the names of the functions that these nodes call, and those that those call."""
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        attributes = node.attr.values()
        names = {node.op, *(value.func.name for value in attributes)}
        names |= {func.name for value in attributes for func in value.list.func}
        for name in (names & functions.keys()) - found:
            found.add(name)
            waiting += functions[name]
    return found
