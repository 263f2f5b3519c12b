"""The folder of a run, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from fathom_onnx.errors import OutputError, one_line
from fathom_onnx.graph.files import check_replaceable, ensure_folder, publish, seal

__all__ = ["run_output"]


@contextlib.contextmanager
def run_output(
    folder: Path | None, files: Collection[str] = ("manifest.json", "nodes.csv"), kind: str = "a run folder"
) -> Iterator[Path]:
    """A temporary folder that becomes the run folder ``folder`` on success and is removed on failure.

    Args:
        folder: The folder; None where nothing is to be kept.
        files: Names of files that every folder of the kind has: one that has not is not replaced.
        kind: What such a folder is called in an error.

    Raises:
        OutputError: ``folder`` cannot be written, or holds something else than a run.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="fathom-onnx-") as temporary:
            yield Path(temporary)
        return
    check_replaceable(folder, files, kind)
    ensure_folder(folder.parent)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield aside
        seal(aside, [path.name for path in aside.iterdir()])
        publish(aside, 0o777)
        old = None
        if folder.exists():
            old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
            folder.rename(old / "run")
        try:
            aside.rename(folder)
        except OSError:
            if old is not None:
                (old / "run").rename(folder)
            raise
        finally:
            if old is not None:
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {kind.removeprefix('a ')} '{folder}' ({one_line(error)})", "choose another with -o"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
