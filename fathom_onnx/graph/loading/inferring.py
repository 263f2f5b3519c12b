"""A script: infer the shapes of the model on standard input, with so much memory and time, onto standard output.

It imports nothing of this package, so that it starts fast and needs no path to it.
"""

import contextlib
import sys
from pathlib import Path

import onnx
import onnx.shape_inference


def _limit(memory: int, seconds: int) -> None:
    """Take no more of either than so much beside what is taken already, where the system has such limits."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        for kind, limit in ((resource.RLIMIT_AS, used + memory), (resource.RLIMIT_CPU, seconds)):
            _, most = resource.getrlimit(kind)
            resource.setrlimit(kind, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _main() -> int:
    strict, follow, memory, seconds = map(int, sys.argv[1:])
    model = onnx.ModelProto.FromString(sys.stdin.buffer.read())
    _limit(memory, seconds)
    try:
        made = onnx.shape_inference.infer_shapes(
            model, check_type=bool(strict), strict_mode=bool(strict), data_prop=bool(follow)
        )
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        sys.stderr.write(" ".join(str(error).split()))
        return 3
    sys.stdout.buffer.write(made.SerializeToString())
    return 0


if __name__ == "__main__":
    sys.exit(_main())
