"""``READER:PATH``: where a user names a corpus, and where a file may not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fathom_onnx.data import SOURCES, batches_for, named_source, source_for_graph, usual_source
from fathom_onnx.data.corpora import READERS, corpus_source
from fathom_onnx.errors import UnknownNameError, UsageError
from fathom_onnx.graph import GraphMetadata, from_model
from fathom_onnx.workloads import workload


def test_a_corpus_is_a_real_source_under_the_name_as_given() -> None:
    source = corpus_source("mnist:some/where:else")
    assert (source.name, source.kind, source.on_disk) == ("mnist:some/where:else", "real", True)
    assert named_source("mnist:some/where:else").name == source.name
    assert not any(row.on_disk for row in SOURCES.values())


def test_readers_and_sources_have_names_of_their_own() -> None:
    assert not set(READERS) & set(SOURCES)
    assert not any(":" in name for name in (*READERS, *SOURCES))
    for name, reader in READERS.items():
        assert reader.name == name
        assert len(reader.description) > 20
        assert "\n" not in reader.description


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("minst:data", "unknown reader of corpora 'minst'; did you mean 'mnist'"),
        ("digits:data", "unknown reader of corpora 'digits'"),
        (":data", "unknown reader of corpora ''; known: mnist"),
        ("mnist", "unknown data source 'mnist'; did you mean 'mnist:PATH'"),
        ("digitz", "unknown data source 'digitz'; did you mean 'digits'"),
    ],
)
def test_an_unknown_reader_is_named_with_the_nearest(named: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        named_source(named)


def test_a_reader_needs_a_path() -> None:
    with pytest.raises(UsageError, match="'mnist:' names no path; give one, as in 'mnist:PATH'"):
        named_source("mnist:")


def test_a_workload_or_a_graph_never_names_files(tmp_path: Path) -> None:
    """Metadata are written by strangers: they must not make the program open files."""
    made = replace(workload("autoenc", "tiny"), data=f"mnist:{tmp_path}")
    with pytest.raises(UnknownNameError, match="unknown data source 'mnist:"):
        batches_for(made, "training", 0)
    with pytest.raises(UnknownNameError, match="unknown data source 'mnist:"):
        usual_source(f"mnist:{tmp_path}")


def test_a_graph_of_such_metadata_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1,))
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1,))
    body = helper.make_graph([helper.make_node("Neg", ["x"], ["y"], "forward/x/Neg")], "g", [value], [out])
    model: onnx.ModelProto = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    made = replace(workload("autoenc", "tiny"), data=f"mnist:{tmp_path}")
    GraphMetadata.of(made, "inference", "torch", "0", "graph", "simulators").write(model)
    with pytest.raises(UnknownNameError, match="unknown data source 'mnist:"):
        source_for_graph(from_model(model, "g"))


def test_the_home_folder_is_found_after_the_colon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Exception, match=f"no file '{tmp_path}/none'"):
        batches_for(workload("autoenc", "tiny"), "training", 0, "mnist:~/none")
