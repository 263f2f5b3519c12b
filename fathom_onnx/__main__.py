"""``python -m fathom_onnx``."""

from .cli import main

main()
