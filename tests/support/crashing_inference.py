"""A script: print the operators at which onnx's own inference of shapes crashes, of all versions, and with what inputs.

Each is asked with an input of unknown type, with none at all, and with matrices and images, with all its attributes,
those that it needs or none, each of them one or zero. A process that crashes is followed by another, from the next on.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

import onnx.defs
import onnx.shape_inference
from onnx import TensorProto, helper
from onnx.defs import OpSchema

Kind = OpSchema.AttrType
SHAPES = {"unknown": None, "omitted": None, "matrix": [2, 3], "image": [1, 2, 4, 4]}


def _value(kind: OpSchema.AttrType, number: int) -> object:
    """A value of a kind of attribute; None for the kinds that are not tried."""
    return {
        Kind.INT: number,
        Kind.INTS: [number, number],
        Kind.FLOAT: float(number),
        Kind.FLOATS: [float(number)] * 2,
        Kind.STRING: "NOTSET",
        Kind.STRINGS: ["a"],
        Kind.TENSOR: helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]),
    }.get(kind)


def _cases() -> Iterator[tuple[str, onnx.ModelProto]]:
    for schema in onnx.defs.get_all_schemas_with_history():
        for given, shape in SHAPES.items():
            for number, every in ((0, False), (1, False), (0, True), (1, True)):
                wanted = {n: a for n, a in schema.attributes.items() if every or a.required}
                values = {n: v for n, a in wanted.items() if (v := _value(a.type, number)) is not None}
                names = ["" if given == "omitted" else f"i{n}" for n in range(max(1, schema.min_input))]
                outputs = [f"o{n}" for n in range(max(1, min(schema.max_output, 3)))]
                node = helper.make_node(schema.name, names, outputs, domain=schema.domain, **values)
                inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in names] if shape else []
                domains = {schema.domain: schema.since_version} | ({"": 18} if schema.domain else {})
                imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
                graph = helper.make_graph([node], "g", inputs, [])
                yield f"{schema.domain} {schema.name} {given}", helper.make_model(graph, opset_imports=imports)


def main() -> None:
    cases = list(_cases())
    first, found = 0, set()
    while first < len(cases):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            for number in range(first, len(cases)):
                os.write(writing, number.to_bytes(4, "little"))
                for follow in (False, True):
                    with contextlib.suppress(Exception):  # it says that this is no valid node
                        onnx.shape_inference.infer_shapes(cases[number][1], data_prop=follow)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            last = int.from_bytes(pipe.read()[-4:], "little")
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            found.add(cases[last][0])
        first = last + 1
    sys.stdout.writelines(f"{case}\n" for case in sorted(found))


if __name__ == "__main__":
    main()
