"""Ask onnxruntime-gpu what it does with a graph on CUDA, on a machine without a device.

    python benchmarks/cuda_stand_in.py libraries FOLDER
    LD_LIBRARY_PATH=FOLDER python benchmarks/cuda_stand_in.py kernels
    LD_LIBRARY_PATH=FOLDER python benchmarks/cuda_stand_in.py place graphs/*.onnx

The wheel decides where a node runs when it builds a session, by its table of kernels; no kernel is run for that.
``libraries`` makes stand-ins of the CUDA libraries that the wheel links to, from its own list of symbols: memory is the
host's, every other call does nothing and succeeds. With them the wheel builds its sessions as it does with a device.
What a session then computes is noise: nothing that is measured this way says anything of a device.

``kernels`` prints the table of ``fathom_onnx/compat/cuda_kernels.py``, ``place`` how many nodes of a graph each
provider takes, and the copies between devices in the model as it would run. Needs onnxruntime-gpu, gcc and binutils.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter, defaultdict
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

OPSET = 18
_NO_END = 2**31 - 1
_HEADER = "#include <stddef.h>\n#include <stdlib.h>\n#include <string.h>\n"
_ROUNDED = "aligned_alloc(256, (n + 255) / 256 * 256)"

_DEVICE = """
static void device(char *p) { /* cudaDeviceProp of CUDA 13 by its offsets: an 80 GB device of capability 9.0 */
  memset(p, 0, 384); strcpy(p, "stand-in");
  for (int i = 384; i < 700; i += 4) *(int *)(p + i) = 2048;
  *(size_t *)(p + 288) = 80ull << 30; *(size_t *)(p + 296) = 49152; *(int *)(p + 304) = 65536;
  *(int *)(p + 308) = 32; *(int *)(p + 320) = 1024; *(int *)(p + 324) = 1024; *(int *)(p + 328) = 1024;
  *(int *)(p + 332) = 64; *(int *)(p + 336) = 2147483647; *(int *)(p + 340) = 65535; *(int *)(p + 344) = 65535;
  *(size_t *)(p + 352) = 65536; *(int *)(p + 360) = 9; *(int *)(p + 364) = 0; *(int *)(p + 384) = 132;
}
"""

BODIES: dict[str, str] = {
    **{f: f"int {f}(void **p, size_t n) {{ *p = {_ROUNDED}; return 0; }}" for f in ("cudaMalloc", "cudaMallocHost")},
    "cudaHostAlloc": f"int cudaHostAlloc(void **p, size_t n, unsigned f) {{ *p = {_ROUNDED}; return 0; }}",
    "cudaMallocFromPoolAsync": f"int cudaMallocFromPoolAsync(void **p, size_t n, void *a, void *b) "
    f"{{ *p = {_ROUNDED}; return 0; }}",
    **{f: f"int {f}(void *p) {{ free(p); return 0; }}" for f in ("cudaFree", "cudaFreeHost", "cudaFreeAsync")},
    **{
        f: f"int {f}(void *d, void *s, size_t n, int k, void *t) {{ memcpy(d, s, n); return 0; }}"
        for f in ("cudaMemcpy", "cudaMemcpyAsync")
    },
    **{
        f: f"int {f}(void *d, int v, size_t n, void *t) {{ memset(d, v, n); return 0; }}"
        for f in ("cudaMemset", "cudaMemsetAsync")
    },
    "cudaGetDevice": "int cudaGetDevice(int *d) { *d = 0; return 0; }",
    "cudaMemGetInfo": "int cudaMemGetInfo(size_t *a, size_t *b) { *a = *b = 80ull << 30; return 0; }",
    "cudaDeviceGetAttribute": "int cudaDeviceGetAttribute(int *v, int a, int d) "
    "{ *v = a == 75 ? 9 : a == 76 ? 0 : a == 16 ? 132 : a == 39 ? 2048 : a == 10 ? 32 : 1024; return 0; }",
    "cudaGetDeviceProperties": _DEVICE + "int cudaGetDeviceProperties(char *p, int d) { device(p); return 0; }",
    "__cudaRegisterFatBinary": "void **__cudaRegisterFatBinary(void *p) { static void *h[4]; return h; }",
    "__cudaPopCallConfiguration": "int __cudaPopCallConfiguration(unsigned *g, unsigned *b, size_t *s, void **t) "
    "{ g[0] = g[1] = g[2] = b[0] = b[1] = b[2] = 1; *s = 0; *t = 0; return 0; }",
    "cudaPointerGetAttributes": "int cudaPointerGetAttributes(int *a, void *p) { memset(a, 0, 32); *a = 2; return 0; }",
    "cudaStreamIsCapturing": "int cudaStreamIsCapturing(void *s, int *v) { *v = 0; return 0; }",
    "cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags": "int "
    "cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, void *f, int b, size_t s, unsigned g) "
    "{ *n = 1; return 0; }",
    "cudnnGetVersion": "size_t cudnnGetVersion(void) { return 91000; }",
    "cudnnBackendCreateDescriptor": "int cudnnBackendCreateDescriptor(int k, void **p) "
    "{ *p = malloc(4096); return 0; }",
    **{
        f: f"int {f}(int *v) {{ *v = {value}; return 0; }}"
        for f, value in (
            ("cudaGetDeviceCount", 1),
            ("cuDeviceGetCount", 1),
            ("cudaRuntimeGetVersion", 13000),
            ("cudaDriverGetVersion", 13000),
            ("cuDriverGetVersion", 13000),
        )
    },
    **{
        f: f'const char *{f}(int e) {{ return "stand-in"; }}'
        for f in (
            "cudaGetErrorString",
            "cudaGetErrorName",
            "cublasGetStatusName",
            "cublasGetStatusString",
            "cudnnGetErrorString",
        )
    },
}
"""Calls that have to do something; a call that makes a handle gives one, any other does nothing."""


def _provider(name: str) -> Path:
    found = find_spec("onnxruntime")
    path = (
        Path(found.origin).parent / "capi" / f"libonnxruntime_providers_{name}.so" if found and found.origin else None
    )
    if path is None or not path.is_file():
        sys.exit(f"there is no provider '{name}': pip install onnxruntime-gpu")
    return path


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _symbols() -> dict[str, set[str]]:
    """Library to the symbols that the wheel takes from it."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in ("cuda", "tensorrt"):
        for line in _output("readelf", "--dyn-syms", "-W", str(_provider(name))).splitlines():
            words = line.split()
            if len(words) < 8 or words[6] != "UND":
                continue
            symbol, _, library = words[7].partition("@")
            if re.match(r"lib(cudart|cublas|cublasLt|curand)\.so", library):
                found[library].add(symbol)
            elif not library and re.match(r"create\w+_INTERNAL|get\w+|init\w+", symbol):
                found["libnvinfer.so.10"].add(symbol)
            elif not library and symbol.startswith("cu"):
                found["libcuda.so.1"].add(symbol)
    # loaded by name when first needed
    found["libcudnn.so.9"] = set(re.findall(r"^cudnn[A-Z]\w+$", _output("strings", str(_provider("cuda"))), re.M))
    found["libcuda.so.1"] |= {"cuInit", "cuDriverGetVersion", "cuDeviceGetCount"}
    found["libcurand.so.10"] |= {"curandCreateGenerator"}
    found["libnvinfer_plugin.so.10"] = found["libnvonnxparser.so.10"] = found["libnvinfer.so.10"]
    return found


def libraries(folder: Path) -> None:
    """Make the stand-ins."""
    folder.mkdir(parents=True, exist_ok=True)
    for library, symbols in _symbols().items():
        parts = [_HEADER]
        for name in sorted(symbols):
            if name in BODIES:
                parts.append(BODIES[name])
            elif re.search(r"Create|GetHandle", name):
                parts.append(f"long {name}(void **p) {{ *p = malloc(4096); return 0; }}")
            else:
                parts.append(f"long {name}(void) {{ return 0; }}")
        with TemporaryDirectory() as made:
            source, versions = Path(made) / "library.c", Path(made) / "versions"
            source.write_text("\n".join(parts) + "\n")
            versions.write_text(f"{library} {{ global: *; }};\n")
            versioned = not re.match(r"lib(cuda\.|nv)", library) and library != "libcudnn.so.9"
            script = [f"-Wl,--version-script={versions}"] if versioned else []
            flags = ["-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{library}", *script]
            subprocess.run(["gcc", *flags, "-o", str(folder / library), str(source)], check=True)
        print(f"{library}: {len(symbols)} symbols")


def _merged(rows: list[dict[str, tuple[str, ...]]]) -> list[dict[str, tuple[str, ...]]]:
    """Rows that differ in one constraint only as one row."""
    rows = [dict(row) for row in rows]
    for first in range(len(rows)):
        for second in range(len(rows) - 1, first, -1):
            a, b = rows[first], rows[second]
            differing = [name for name in a if a[name] != b.get(name)]
            if a.keys() == b.keys() and len(differing) <= 1:
                for name in differing:
                    a[name] = tuple(sorted({*a[name], *b[name]}))
                del rows[second]
    return rows


def kernels() -> None:
    """Print the table of kernels at the opset of the graphs."""
    import onnx
    import onnxruntime.capi._pybind_state as ort

    found: dict[str, list[dict[str, tuple[str, ...]]]] = defaultdict(list)
    for kernel in ort.get_all_opkernel_def():
        if kernel.provider != "CUDAExecutionProvider" or kernel.domain not in ("", "ai.onnx"):
            continue
        try:
            since = onnx.defs.get_schema(kernel.op_name, OPSET).since_version
        except onnx.defs.SchemaError:
            continue
        first, last = kernel.version_range
        # a kernel without an end takes the version that it was registered with, and no newer one
        if since == first or (last != _NO_END and first <= since <= last):
            row = {n: tuple(sorted(_short(t) for t in types)) for n, types in kernel.type_constraints.items()}
            found[kernel.op_name].append(row)
    for name in sorted(found):
        rows = _merged(found[name])
        print(name, " | ".join("; ".join(f"{c}: {' '.join(t)}" for c, t in sorted(row.items())) for row in rows))


def _short(kind: str) -> str:
    """``tensor(float)`` as numpy names it; sequences stay as they are."""
    names = {"float": "float32", "double": "float64", "string": "object"}
    inner = re.fullmatch(r"tensor\((\w+)\)", kind)
    return names.get(inner[1], inner[1]) if inner else kind.replace(" ", "")


def place(paths: list[str]) -> None:
    """Print how many nodes each provider takes."""
    from fathom_onnx.errors import RunError
    from fathom_onnx.graph import load
    from fathom_onnx.graph.bodies import numbered
    from fathom_onnx.runtime.optimized import load_optimized
    from fathom_onnx.runtime.prepare import prepare
    from fathom_onnx.runtime.providers.placement import MEMCPY
    from fathom_onnx.runtime.session import open_session
    from fathom_onnx.runtime.settings import SessionSettings
    from fathom_onnx.runtime.weights import variable_values

    for path in paths:
        graph = load(path)
        with TemporaryDirectory() as made:
            file = Path(made) / "optimized.onnx"
            prepared = prepare(graph, variable_values(graph, 0), 0)
            try:
                session = open_session(prepared, SessionSettings("cuda", 1), optimized_to=file)
            except RunError as error:
                print(path, error, flush=True)
                continue
            count: Counter[str] = Counter()
            part: Any
            for part in session.get_provider_graph_assignment_info():
                count[part.ep_name] += len(part.get_nodes())
            copies = sum(entry.node.op_type in MEMCPY for entry in numbered(load_optimized(file).graph))
            del session
        print(path, dict(count), f"{copies} copies", flush=True)


def main() -> None:
    """Run what the command line names."""
    match sys.argv[1:]:
        case ["libraries", folder]:
            libraries(Path(folder))
        case ["kernels"]:
            kernels()
        case ["place", *paths] if paths:
            place(paths)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
