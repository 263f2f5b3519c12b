"""A JSON object on stdout for every file: whether a tool takes it, what it counts, its own words where it does not.

Drivers run in the environment of the tool they drive, which has neither this project nor its dependencies.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["Answer", "answer"]

Answer = dict[str, Any]


def answer(look: Callable[[str], Answer], version: str) -> int:
    """Let ``look`` look at every file of the command line; what tools print themselves goes to stderr.

    Each gives a line, an object with ``accepted``, ``version`` and ``error`` (empty where accepted) and what ``look``
    found, of which ``macs`` is None where the tool does not count.
    """
    out = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    with os.fdopen(out, "w", buffering=1) as stream:
        for path in sys.argv[1:]:
            found: Answer = {"accepted": True, "version": version, "macs": None, "error": ""}
            try:
                found |= look(path)
            except BaseException as error:  # some tools leave by sys.exit
                traceback.print_exc()
                text = " ".join(str(error).split()) or repr(error)
                found |= {"accepted": False, "error": f"{type(error).__name__}: {text}"[:2000]}
            stream.write(json.dumps(found) + "\n")
    return 0
