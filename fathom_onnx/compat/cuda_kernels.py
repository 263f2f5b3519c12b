"""The kernels of onnxruntime's CUDA provider, by op and types: data of onnxruntime-gpu 1.31.1.

As printed by ``benchmarks/cuda_stand_in.py kernels`` from the wheel's own registry, for the op versions of opset 18. A
node whose op or types have no row runs on the CPU, with copies before and after it.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

__all__ = ["KERNELS", "OPSET", "UNLESS", "VERSION", "KernelTypes", "has_kernel", "kernel_version"]

VERSION = "1.31.1"
"""Version of onnxruntime-gpu that the table was read from."""

OPSET = 18
"""Opset that the table is for."""

KernelTypes = Mapping[str, frozenset[str]]
"""One kernel: type constraint, or name of a parameter, to the element types that it supports there."""

_TABLE = """
Abs T: bfloat16 float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Add T: bfloat16 float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
And T: bool; T1: bool
ArgMax T: float16 float32 float64
ArgMin T: float16 float32 float64
AveragePool T: float16 float32 float64
BatchNormalization T: float32; T1: float32; T2: float32 | T: float64; T1: float64; T2: float64 | T: float16; T1:
  float16; T2: float16
Cast T1: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8; T2: bfloat16
  bool float16 float32 float4e2m1 float64 float8e4m3fn float8e5m2 int16 int32 int64 int8 uint16 uint32 uint64
  uint8
Ceil T: float16 float32 float64
Clip T: float16 float32 float64 int64 int8 uint64 uint8
Compress T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8; T1: bool
Concat T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
ConcatFromSequence S: seq(tensor(bfloat16)) seq(tensor(bool)) seq(tensor(double)) seq(tensor(float))
  seq(tensor(float16)) seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(int8))
  seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(uint8))
ConstantOfShape T1: int64; T2: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64
  uint8
Conv T: float16 float32 float64
ConvTranspose T: float16 float32 float64
Cos T: float16 float32 float64
CumSum T: float16 float32 float64 int32 int64 uint32 uint64; T2: int32 int64
DepthToSpace T: float16 float32 float64
DequantizeLinear T: int8 uint8
Div T: bfloat16 float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Dropout T: bfloat16 float16 float32 float64; T1: bfloat16 float16 float32 float64; T2: bool
Einsum T: float16 float32 float64
Elu T: float16 float32 float64
Equal T: bool float16 float32 float64 int32 int64 uint32 uint64; T1: bool
Erf T: bfloat16 float16 float32 float64
Exp T: bfloat16 float16 float32 float64
Expand T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
EyeLike T1: float32 float64 int32 int64 uint64; T2: float32 float64 int32 int64 uint64
Flatten T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Floor T: float16 float32 float64
GRU T: float16 float32 float64; T1: int32
Gather T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8; Tind: int32
  int64
GatherElements T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8; Tind:
  int32 int64
GatherND T: bfloat16 bool float16 float32 float64 int64; indices: int64
Gemm T: bfloat16 float16 float32 float64
GlobalAveragePool T: float16 float32 float64
GlobalMaxPool T: float16 float32 float64
Greater T: float16 float32 float64 int32 int64 uint32 uint64; T1: bool
GreaterOrEqual T: float16 float32 float64 int32 int64 uint32 uint64; T1: bool
GridSample T1: float32; T2: float32
HardSigmoid T: float16 float32 float64
HardSwish T: float16 float32 float64
Identity V: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 seq(tensor(bfloat16)) seq(tensor(bool))
  seq(tensor(double)) seq(tensor(float)) seq(tensor(float16)) seq(tensor(int16)) seq(tensor(int32))
  seq(tensor(int64)) seq(tensor(int8)) seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64))
  seq(tensor(uint8)) uint16 uint32 uint64 uint8
If B: bool; V: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 object seq(tensor(bfloat16))
  seq(tensor(bool)) seq(tensor(double)) seq(tensor(float)) seq(tensor(float16)) seq(tensor(int16))
  seq(tensor(int32)) seq(tensor(int64)) seq(tensor(int8)) seq(tensor(string)) seq(tensor(uint16))
  seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(uint8)) uint16 uint32 uint64 uint8
InstanceNormalization T: float16 float32 float64
IsInf T1: float32 float64; T2: bool
IsNaN T1: bfloat16 float16 float32 float64; T2: bool
LRN T: float16 float32 float64
LSTM T: float16 float32 float64; T1: int32
LayerNormalization T: bfloat16 float16 float32 float64; U: float32
LeakyRelu T: float16 float32 float64
Less T: float16 float32 float64 int32 int64 uint32 uint64; T1: bool
LessOrEqual T: float16 float32 float64 int32 int64 uint32 uint64; T1: bool
Log T: float16 float32 float64
LogSoftmax T: float16 float32 float64
Loop B: bool; I: int64; V: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 object
  seq(tensor(bfloat16)) seq(tensor(bool)) seq(tensor(double)) seq(tensor(float)) seq(tensor(float16))
  seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(int8)) seq(tensor(string))
  seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(uint8)) uint16 uint32 uint64 uint8
LpNormalization T: float16 float32
MatMul T: bfloat16 float16 float32 float64
MatMulInteger T1: int8; T2: int8; T3: int32
Max T: bfloat16 float16 float32 float64 int32 int64 uint32 uint64
MaxPool I: int64; T: float16 float32 float64 int8 uint8
Min T: bfloat16 float16 float32 float64 int32 int64 uint32 uint64
Mod T: bfloat16 float16 float32 float64 int32 int64 uint32 uint64
Mul T: bfloat16 float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Neg T: bfloat16 float16 float32 float64 int16 int32 int64 int8
NonMaxSuppression
NonZero T: bool float16 float32 int32 int64 uint8
Not T: bool
OneHot T1: int64; T2: int64; T3: float16 float32 int64 | T1: int32; T2: int32; T3: float16 float32
Or T: bool; T1: bool
PRelu T: float16 float32 float64
Pad T: bool float16 float32 float64
Pow T: bfloat16 float16 float32 float64 int32 int64; T1: bfloat16 float16 float32 float64 int32 int64
QuantizeLinear T1: float32; T2: int8 uint8
RNN T: float16 float32 float64; T1: int32
RandomNormal T: float16 float32 float64
RandomNormalLike T1: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 object uint16 uint32 uint64
  uint8; T2: float16 float32 float64
RandomUniform T: float16 float32 float64
RandomUniformLike T1: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 object uint16 uint32 uint64
  uint8; T2: float16 float32 float64
Range T: float32 float64 int16 int32 int64
Reciprocal T: float16 float32 float64
ReduceL1 T: float16 float32 float64 int32
ReduceL2 T: float16 float32 float64 int32
ReduceLogSum T: float16 float32 float64
ReduceLogSumExp T: float16 float32 float64
ReduceMax T: float16 float32 float64 int32 int64 int8 uint8
ReduceMean T: bfloat16 float16 float32 float64 int32
ReduceMin T: float16 float32 float64 int32 int64 int8 uint8
ReduceProd T: float16 float32 float64 int32
ReduceSum T: bfloat16 float16 float32 float64 int32 int64
ReduceSumSquare T: float16 float32 float64
Relu T: bfloat16 float16 float32 float64
Reshape T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8; shape: int64
Resize T1: float16 float32 float64 int32 uint8
ReverseSequence T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
RoiAlign T1: float16 float32 float64; T2: int64
Round T: float16 float32 float64
Scan V: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
ScatterElements T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8; Tind:
  int32 int64
ScatterND T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Selu T: float16 float32 float64
SequenceAt I: int32 int64; S: seq(tensor(bfloat16)) seq(tensor(bool)) seq(tensor(double)) seq(tensor(float))
  seq(tensor(float16)) seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(int8))
  seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(uint8)); T: bfloat16 bool float16 float32
  float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
SequenceConstruct S: seq(tensor(bfloat16)) seq(tensor(bool)) seq(tensor(double)) seq(tensor(float))
  seq(tensor(float16)) seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(int8))
  seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(uint8)); T: bfloat16 bool float16 float32
  float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
SequenceEmpty S: seq(tensor(bfloat16)) seq(tensor(bool)) seq(tensor(double)) seq(tensor(float))
  seq(tensor(float16)) seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(int8))
  seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(uint8))
SequenceErase I: int32 int64; S: seq(tensor(bfloat16)) seq(tensor(bool)) seq(tensor(double)) seq(tensor(float))
  seq(tensor(float16)) seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(int8))
  seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(uint8))
SequenceInsert I: int32 int64; S: seq(tensor(bfloat16)) seq(tensor(bool)) seq(tensor(double)) seq(tensor(float))
  seq(tensor(float16)) seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(int8))
  seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(uint8))
SequenceLength I: int64; S: seq(tensor(bfloat16)) seq(tensor(bool)) seq(tensor(double)) seq(tensor(float))
  seq(tensor(float16)) seq(tensor(int16)) seq(tensor(int32)) seq(tensor(int64)) seq(tensor(int8))
  seq(tensor(uint16)) seq(tensor(uint32)) seq(tensor(uint64)) seq(tensor(uint8))
Shape T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8; T1: int64
Shrink T: float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Sigmoid T: bfloat16 float16 float32 float64
Sign T: bfloat16 float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Sin T: float16 float32 float64
Size T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 object uint16 uint32 uint64 uint8; T1: int64
Slice T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8; Tind: int32
  int64
Softmax T: bfloat16 float16 float32 float64
Softplus T: float16 float32 float64
Softsign T: float16 float32 float64
SpaceToDepth T: float16 float32 float64
Split T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Sqrt T: bfloat16 float16 float32 float64
Squeeze T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Sub T: bfloat16 float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Sum T: bfloat16 float16 float32 float64
Tanh T: bfloat16 float16 float32 float64
ThresholdedRelu T: float16 float32 float64
Tile T: bfloat16 float16 float32 float64 int32 int64; T1: int64
TopK I: int64; T: float16 float32 float64 int16 int32 int64 int8 uint8
Transpose T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Trilu T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Unsqueeze T: bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint16 uint32 uint64 uint8
Where B: bool; T: bfloat16 float16 float32 float64 int32 int64 uint8
Xor T: bool; T1: bool
"""
"""One op: its kernels, between ``|``, each with its constraints; an indented line goes on with the one before."""


def _rows(text: str) -> tuple[KernelTypes, ...]:
    rows = []
    for kernel in text.split(" | "):
        entries = (entry.partition(":") for entry in kernel.split(";") if entry.strip())
        rows.append({name.strip(): frozenset(types.split()) for name, _, types in entries})
    return tuple(rows)


def _parsed(table: str) -> dict[str, tuple[KernelTypes, ...]]:
    lines = table.replace("\n  ", " ").strip().splitlines()
    return {op: _rows(text) for op, _, text in (line.partition(" ") for line in lines)}


KERNELS: dict[str, tuple[KernelTypes, ...]] = _parsed(_TABLE)
"""Op of the default domain to its kernels; an op that is not in it has none."""


UNLESS: dict[str, str] = {
    "ArgMax": "select_last_index",
    "ArgMin": "select_last_index",
    "BatchNormalization": "training_mode",
}
"""Op to an attribute that must be 0: onnxruntime has no CUDA kernel for another value of it.

A ConvTranspose must moreover be padded alike at both ends."""


def kernel_version(op: str, opset: int) -> bool:
    """Whether an op is at ``opset`` what it is at the table's, so that the table holds."""
    try:
        return bool(onnx.defs.get_schema(op, opset).since_version == onnx.defs.get_schema(op, OPSET).since_version)
    except onnx.defs.SchemaError:
        return False


def _refused(node: onnx.NodeProto) -> bool:
    """Whether a node has an attribute that its op's kernels do not take."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "ConvTranspose":
        pads: list[int] = list(given.get("pads", []))
        half = len(pads) // 2
        return pads[:half] != pads[half:] or bytes(given.get("auto_pad", b"")).startswith(b"SAME")
    return bool(given.get(UNLESS.get(node.op_type, "")))


def has_kernel(node: onnx.NodeProto, types: Mapping[str, str]) -> bool:
    """Whether a node of the default domain has a CUDA kernel for its types.

    On 490 of onnx's own node tests, of all ops that have one, this is what the wheel itself decides.

    Args:
        node: The node, its op at :data:`OPSET`.
        types: Element types of tensors by name, as numpy calls them; one that is not known may be any.
    """
    rows = KERNELS.get(node.op_type, ())
    if not rows or _refused(node):
        return False
    schema = onnx.defs.get_schema(node.op_type, OPSET)
    kinds: dict[str, set[str]] = {}
    for formal, names in ((schema.inputs, node.input), (schema.outputs, node.output)):
        for place, name in enumerate(names):
            # what follows the last one named is of it: it may be given many times
            parameter = formal[min(place, len(formal) - 1)]
            kind = types.get(name, "")
            if name and kind:
                for label in (parameter.type_str, parameter.name):
                    kinds.setdefault(label, set()).add(kind)
    return any(all(kinds.get(label, set()) <= allowed for label, allowed in row.items()) for row in rows)
