"""Lines for people: what they say is on one line, and shows what is in it."""

from __future__ import annotations

from fathom_onnx.errors import GraphError


def test_an_error_is_one_line_whatever_is_in_it() -> None:
    """A library's text on several lines, and a name that would turn the direction of what follows."""
    error = GraphError("onnx says\n  that it\r\nfails at 'a\u202eb'", "export it again")
    assert str(error) == "onnx says that it fails at 'a\\u202eb'; export it again"
