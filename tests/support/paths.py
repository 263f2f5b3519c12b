"""Where the tests find the repository's files."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = ROOT / "graphs"
DOCS = ROOT / "docs"
SAMPLES = ROOT / "tests" / "samples"
