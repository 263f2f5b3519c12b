"""Ceilings, and runs against them: exact on hand-made tables, in form on this machine."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fathom_onnx.analysis.report.roofline_figure import roofline_svg
from fathom_onnx.analysis.runs.roofline import BOUNDS, COLUMNS, roofline, rooflines
from fathom_onnx.analysis.runs.run import ATTRIBUTION_COLUMNS, COST_COLUMNS, NODE_COLUMNS, ORIGINAL_COLUMNS, Run
from fathom_onnx.cli import main
from fathom_onnx.errors import UnknownNameError
from fathom_onnx.profiling import profile
from fathom_onnx.runtime.ceilings import Ceilings, Sample
from support.graphs.small_models import cnn
from support.runs.sealing import reseal

Row = tuple[str, str, float, float | None, float | None]


def originals(*rows: Row) -> pd.DataFrame:
    """(name, op, us, FLOPs, bytes); half of the bytes are read. The layer is the name without its last letter."""
    return pd.DataFrame(
        [
            {
                "name": name,
                "op_type": op,
                "phase": "forward",
                "layer": name[:-1],
                "op": op,
                "op_class": "A",
                "us": us,
                "macs": 0.0,
                "flops": np.nan if flops is None else flops,
                "bytes_read": np.nan if moved is None else moved / 2,
                "bytes_written": np.nan if moved is None else moved / 2,
                "parameters": 0,
                "state": "ran" if us else "folded",
            }
            for name, op, us, flops, moved in rows
        ],
        columns=list(ORIGINAL_COLUMNS),
    )


def run_of(
    table: pd.DataFrame,
    *groups: str,
    types: dict[str, str] | None = None,
    work: dict[str, tuple[float, float]] | None = None,
    older: bool = False,
) -> Run:
    """A run: a text an executed node, the originals it stands for. An original in several divides its time.

    Args:
        table: The originals.
        groups: The executed nodes.
        types: Group to the number type that it computes in; float32 where it does not say.
        work: Group to its FLOPs and bytes; where it does not say the sum of the FLOPs, and the bytes of the one with
            most, of what each of its originals has there.
        older: Whether the run is of a version that kept no costs of executed nodes.
    """
    us = dict(zip(table["name"], table["us"], strict=True))
    flops = dict(zip(table["name"], table["flops"], strict=True))
    moved = dict(zip(table["name"], table["bytes_read"] + table["bytes_written"], strict=True))
    uses = [name for group in groups for name in group.split()]
    labels = dict.fromkeys(("phase", "layer", "op", "op_class"), "")
    rows, nodes = [], []
    for number, group in enumerate(groups):
        names = group.split()
        of_group = {name: us[name] / uses.count(name) for name in names}
        for name, time in of_group.items():
            row = {"executed": number, "original": name, "kind": "attributed", "weight": 1.0, "us": time}
            rows.append({**row, **labels})
        both = (work or {}).get(group) or (
            sum(flops[name] / uses.count(name) for name in names),
            max((moved[name] / uses.count(name) for name in names), key=lambda v: (np.isnan(v), v)),
        )
        nodes.append(
            {
                "index": number,
                "name": group,
                "op_type": "Op",
                "median_us": sum(of_group.values()),
                "calls": 1.0,
                "below_floor": False,
                **labels,
                "macs": both[0] / 2,
                "flops": both[0],
                "bytes_read": both[1],
                "bytes_written": 0.0,
                "compute_type": (types or {}).get(group, "float32"),
                "cost_reason": "FLOPs not known"
                if np.isnan(both[0])
                else "bytes not known"
                if np.isnan(both[1])
                else "",
            }
        )
    columns = [*NODE_COLUMNS, *(() if older else COST_COLUMNS)]
    return Run(
        manifest={},
        nodes=pd.DataFrame(nodes, columns=columns),
        attribution=pd.DataFrame(rows, columns=list(ATTRIBUTION_COLUMNS)),
        steps=pd.DataFrame(),
        samples=np.zeros((1, len(groups)), np.int64),
        originals=table,
    )


# 100 GFLOP/s and 10 GB/s: 100,000 FLOPs and 10,000 bytes a microsecond
TABLE = originals(
    ("a1", "MatMul", 20.0, 1e6, 2e4),  # arithmetic 10 us, memory 2 us
    ("a2", "MatMul", 10.0, 1e5, 4e4),  # arithmetic 1 us, memory 4 us
    ("b1", "Relu", 8.0, 1e4, 2e4),  # memory 2 us
    ("b2", "Transpose", 5.0, 0.0, 1e4),  # memory 1 us
    ("b3", "Reshape", 1.0, 0.0, 0.0),
    ("c1", "Magic", 7.0, None, 1e4),
    ("c2", "Unique", 3.0, 1e4, None),
    ("d1", "Add", 0.0, 1e4, 1e4),
)
ALONE = run_of(TABLE, *TABLE["name"])
FACTS = {"provider": "cpu", "threads": 1, "cpu": "any", "cpu_cores": 1, "onnxruntime": "any"}
CEILINGS = Ceilings(
    100.0,
    10.0,
    (
        Sample("MatMul", 64, 1.0, 3, 10**11, "float32", "float32 x float32"),
        Sample("MatMulInteger", 64, 1.0, 3, 4 * 10**11, "int8", "uint8 x int8"),
    ),
    (Sample("Relu", 64, 1.0, 3, 10**10),),
    FACTS,
    not_measured={"float16": "it is refused"},
)


def test_nodes_against_the_roof() -> None:
    result = roofline(ALONE, CEILINGS, "node")
    rows = result.table.set_index("name")
    assert list(rows.index) == ["a1", "a2", "b1", "b2", "b3"]
    assert list(rows["roof_us"]) == pytest.approx([10, 4, 2, 1, 0])
    assert list(rows["share"]) == pytest.approx([0.5, 0.4, 0.25, 0.2, 0])
    assert list(rows["bound"]) == ["compute", "memory", "memory", "memory", "none"]
    assert rows.loc["a1", "intensity"] == 50
    assert rows.loc["a1", "gflops"] == pytest.approx(50)
    assert rows.loc["a2", "gbytes"] == pytest.approx(4)
    assert np.isnan(rows.loc["b3", "intensity"])
    assert tuple(result.table.columns) == COLUMNS


def test_a_group_adds_the_times_at_the_roof_of_its_nodes() -> None:
    result = roofline(ALONE, CEILINGS, "op")
    product = result.table.set_index("name").loc["MatMul"]
    # by its sums alone it would be 11 us at the roof, as if one node's memory were there for the other
    assert product["roof_us"] == pytest.approx(14)
    assert product["share"] == pytest.approx(14 / 30)
    assert product["bound"] == "compute"
    assert product["intensity"] == pytest.approx(1.1e6 / 6e4)
    layers = roofline(ALONE, CEILINGS, "layer").table
    assert list(zip(layers["name"], layers["nodes"], layers["us"], strict=True)) == [("a", 2, 30), ("b", 3, 14)]


def test_what_ran_as_one_has_one_roof() -> None:
    # 20, 10 and 8 us: arithmetic 11.1 us, and the 4 us of the one with most bytes
    result = roofline(run_of(TABLE, "a1 a2 b1", "b2", "b3"), CEILINGS, "node")
    rows = result.table.set_index("name")
    assert list(rows["share"]) == pytest.approx([11.1 / 38, 11.1 / 38, 11.1 / 38, 0.2, 0])
    assert list(rows["bytes"]) == pytest.approx([4e4 * 20 / 38, 4e4 * 10 / 38, 4e4 * 8 / 38, 1e4, 0])
    assert list(rows["bound"]) == ["compute", "compute", "compute", "memory", "none"]
    assert rows["roof_us"].sum() == pytest.approx(12.1)


def test_what_ran_as_several_has_its_work_where_it_has_its_time() -> None:
    result = roofline(run_of(TABLE, "a1", "a1", "b2"), CEILINGS, "node")
    rows = result.table.set_index("name")
    assert rows.loc["a1", "roof_us"] == pytest.approx(10)
    assert (rows.loc["a1", "flops"], rows.loc["a1", "bytes"], rows.loc["a1", "nodes"]) == (1e6, 2e4, 1)


def test_what_ran_with_the_unknown_is_unknown() -> None:
    result = roofline(run_of(TABLE, "a1 c1", "a2"), CEILINGS, "node")
    assert list(result.table["name"]) == ["a2"]
    assert [(r["name"], r["why"]) for r in result.left_out.to_dict("records")] == [
        ("a1", "FLOPs not known"),
        ("c1", "FLOPs not known"),
    ]


def test_twins_of_which_one_ran_have_the_rate_of_one() -> None:
    # four equal nodes of 4e6 FLOPs and 4e4 bytes: onnxruntime ran one of them, in 50 us (arithmetic 40 us)
    table = originals(*((f"h{i}", "MatMul", 12.5, 4e6, 4e4) for i in range(4)))
    result = roofline(run_of(table, "h0 h1 h2 h3", work={"h0 h1 h2 h3": (4e6, 4e4)}), CEILINGS, "node")
    assert list(result.table["share"]) == pytest.approx([0.8] * 4)
    assert list(result.table["gflops"]) == pytest.approx([80] * 4)
    assert result.total["share"] == pytest.approx(0.8)
    assert len(result.above_roof) == 0
    # were each of them counted, the product could not say that this is how fast the machine is
    wrong = roofline(run_of(table, "h0 h1 h2 h3", work={"h0 h1 h2 h3": (16e6, 16e4)}), CEILINGS, "op")
    assert wrong.total["share"] == pytest.approx(3.2)
    assert list(wrong.unexplained["why"]) == ["computes 3.20 times as fast as the best float32 product"]


def test_a_node_is_held_against_its_own_number_type() -> None:
    # 400 GFLOP/s in int8: a1's arithmetic takes 2.5 us, and its memory 2 us
    types = {"a1": "int8", "a2": "float16"}
    result = roofline(run_of(TABLE, "a1", "a2", "b1", types=types), CEILINGS, "node")
    rows = result.table.set_index("name")
    assert rows.loc["a1", "roof_us"] == pytest.approx(2.5)
    assert list(rows["compute_type"]) == ["int8", "float32"]
    assert [(r["name"], r["why"]) for r in result.left_out.to_dict("records")] == [
        ("a2", "no ceiling of float16 was measured: it is refused")
    ]
    assert result.arithmetic == {"float32": 100, "int8": 400}
    both = roofline(run_of(TABLE, "a1", "a2", types={"a1": "int8"}), CEILINGS, "op").table
    assert list(both["compute_type"]) == ["int8, float32"]


def test_arithmetic_of_indices_is_held_against_memory_alone() -> None:
    run = run_of(TABLE, "a1", "b1", types={"b1": "int64"})
    run.nodes.loc[1, "macs"] = 0
    result = roofline(run, CEILINGS, "node")
    assert list(result.table["roof_us"]) == pytest.approx([10, 2])
    assert result.by_memory_alone == {"int64": 8}


def test_older_runs_are_read_with_the_costs_as_written() -> None:
    for groups in (TABLE["name"], ("a1 a2 b1", "b2"), ("a1", "a1", "b2")):
        new, old = (roofline(run_of(TABLE, *groups, older=older), CEILINGS, "node") for older in (False, True))
        pd.testing.assert_frame_equal(new.table, old.table)
        pd.testing.assert_frame_equal(new.left_out, old.left_out)
    assert (old.executed, len(old.above_roof)) == (False, 0)
    assert old.as_json()["costs"] == "as written"


def test_movement_that_was_charged_is_no_part() -> None:
    more = run_of(TABLE, "a1 a2").attribution.assign(kind="charged", executed=99)
    charged = replace(ALONE, attribution=pd.concat([ALONE.attribution, more]))
    assert roofline(charged, CEILINGS).total == roofline(ALONE, CEILINGS).total


def test_unknown_costs_are_listed_and_in_no_sum() -> None:
    result = roofline(ALONE, CEILINGS, "phase")
    assert result.table["us"].sum() == 44
    assert result.total["left_out_us"] == 10
    assert [(r["name"], r["why"]) for r in result.left_out.to_dict("records")] == [
        ("c1", "FLOPs not known"),
        ("c2", "bytes not known"),
    ]
    assert result.not_run == 1
    assert result.total["share"] == pytest.approx(17 / 44)


def test_nothing_that_ran() -> None:
    table = originals(("d1", "Add", 0.0, 1.0, 1.0))
    result = roofline(run_of(table), CEILINGS)
    assert len(result.table) == 0
    assert result.as_json()["total"]["share"] is None
    ElementTree.fromstring(roofline_svg(result, "nothing"))


def test_shares_of_the_time_by_what_binds() -> None:
    result = roofline(ALONE, CEILINGS, "node")
    # 20; 10, 8 and 5; 1; and 7 and 3 microseconds of 54
    shares = {"compute": 20 / 54, "memory": 23 / 54, "none": 1 / 54, "unknown": 10 / 54}
    assert result.bound_shares == pytest.approx(shares)
    assert roofline(run_of(TABLE[:0]), CEILINGS).bound_shares == {}


def test_several_groups_at_once_are_those_of_each() -> None:
    several = rooflines(ALONE, CEILINGS, ("node", "op"))
    assert list(several) == ["node", "op"]
    for by, result in several.items():
        alone = roofline(ALONE, CEILINGS, by)
        pd.testing.assert_frame_equal(result.table, alone.table)
        pd.testing.assert_frame_equal(result.left_out, alone.left_out)
        assert (result.by, result.not_run) == (by, alone.not_run)


def test_no_such_group() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'layer'"):
        roofline(ALONE, CEILINGS, "layers")


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0, 1e9), st.floats(0, 1e9)), min_size=1, max_size=8),
    st.sampled_from(["op", "layer", "node", "class", "phase"]),
    st.booleans(),
)
def test_time_and_work_are_kept_whatever_the_rows(
    values: list[tuple[float, float, float]], by: str, older: bool
) -> None:
    table = originals(*((f"l{i % 2}{i}", f"Op{i % 3}", us, f, b) for i, (us, f, b) in enumerate(values)))
    result = roofline(run_of(table, *table["name"], older=older), CEILINGS, by)
    assert result.table["us"].sum() == pytest.approx(sum(us for us, _, _ in values))
    assert result.table["roof_us"].sum() == pytest.approx(sum(max(f / 1e5, b / 1e4) for _, f, b in values))
    assert result.table["nodes"].sum() == len(values)
    assert set(result.table["bound"]) <= set(BOUNDS)


def test_the_drawing() -> None:
    result = roofline(ALONE, CEILINGS, "node")
    text = roofline_svg(result, "a run of $5")
    assert text == roofline_svg(result, "a run of $5")
    ElementTree.fromstring(text)
    assert "roof in" not in text
    typed = roofline_svg(roofline(run_of(TABLE, "a1", "a2", types={"a1": "int8"}), CEILINGS, "node"), "two types")
    assert "roof in float32" in typed
    assert "roof in int8" in typed
    for part in ("a run of $5: 100 GFLOP/s, 10.0 GB/s", ">a1<", "bound by memory", "2 more rows without FLOPs"):
        assert part in text
    assert ">b2<" not in text


QUIET = {"readings_us": [1.0, 1.0], "spread": 0.0, "steady": True, "waited": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small network, and ceilings beside it."""
    place = tmp_path_factory.mktemp("runs")
    profile(cnn(), threads=1, warmup=1, steps=2, folder=place / "run")
    manifest = json.loads((place / "run" / "manifest.json").read_text())
    # how busy the machine is meanwhile is not the tests' to say
    (place / "run" / "manifest.json").write_text(json.dumps({**manifest, "gauge": QUIET}))
    reseal(place / "run")
    of_the_run = {name: manifest[name] for name in ("cpu", "onnxruntime")}
    (place / "ceilings.json").write_text(json.dumps({**CEILINGS.as_json(), **of_the_run}))
    return place


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["roofline", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_on_a_run(folder: Path) -> None:
    where = [str(folder / "run"), "--ceilings", str(folder / "ceilings.json")]
    code, out, err = run(*where)
    assert code == 0
    assert "cnn on cpu, 1 threads; ceilings 100.0 GFLOP/s, 10.0 GB/s, both bind at 10.0 FLOPs a byte" in out
    assert "Conv2D" in out
    assert err == ""
    code, out, _ = run(*where, "--by", "layer", "--json", "--plot", str(folder / "roof.svg"))
    output = json.loads(out)
    assert code == 0
    assert output["schema"] == "fathom-onnx/roofline/1"
    c1 = next(row for row in output["rows"] if row["name"] == "c1")
    assert c1["flops"] == 2 * 2 * 12 * 256 * 27
    assert c1["roof_us"] == pytest.approx(max(c1["flops"] / 1e5, c1["bytes"] / 1e4))
    assert c1["share"] == pytest.approx(c1["roof_us"] / c1["us"])
    assert output["left_out"] == []
    ElementTree.fromstring((folder / "roof.svg").read_text())


def changed(folder: Path, to: Path, **facts: object) -> str:
    """The run with other facts in its manifest."""
    to.mkdir()
    for file in (folder / "run").iterdir():
        if file.is_file():
            (to / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((to / "manifest.json").read_text())
    (to / "manifest.json").write_text(json.dumps({**manifest, **facts}))
    reseal(to)
    return str(to)


def test_the_command_checks_itself(folder: Path, tmp_path: Path) -> None:
    wrong = Path(changed(folder, tmp_path / "wrong"))
    nodes = pd.read_csv(wrong / "nodes.csv", keep_default_na=False)
    convolution = nodes.loc[nodes["op_type"] == "Conv"].index[0]
    nodes.loc[convolution, ["flops", "macs", "below_floor"]] = [10**12, 5 * 10**11, False]
    nodes.to_csv(wrong / "nodes.csv", index=False)
    reseal(wrong)
    where = [str(wrong), "--ceilings", str(folder / "ceilings.json")]
    code, out, err = run(*where)
    assert code == 0
    assert "executed nodes, 1 unexplained" in out
    name = nodes.loc[convolution, "name"]
    assert f"error: node '{name}' (Conv) is at " in err
    assert "1 nodes above the roof are not explained" in err
    code, out, err = run(*where, "--strict", "--json")
    assert code == 1
    assert json.loads(out)["unexplained"] == 1
    assert json.loads(out)["above_roof"][0]["node"] == name
    assert run(str(folder / "run"), *where[1:], "--strict")[0] == 0


def test_the_command_on_an_older_run(folder: Path, tmp_path: Path) -> None:
    older = Path(changed(folder, tmp_path / "older"))
    nodes = pd.read_csv(older / "nodes.csv", keep_default_na=False).drop(columns=list(COST_COLUMNS))
    nodes.to_csv(older / "nodes.csv", index=False)
    reseal(older)
    code, out, err = run(str(older), "--ceilings", str(folder / "ceilings.json"), "--json")
    assert (code, json.loads(out)["costs"]) == (0, "as written")
    assert "note: the run was profiled by an older version" in err


def test_the_command_does_not_mix_machines(folder: Path, tmp_path: Path) -> None:
    code, out, err = run(changed(folder, tmp_path / "other", cpu="Another CPU"))
    assert (code, out) == (2, "")
    assert "the run is from another machine (Another CPU" in err
    code, _, err = run(changed(folder, tmp_path / "more", threads=7), "--ceilings", str(folder / "ceilings.json"))
    assert code == 0
    assert "warning: the run has threads 7, the ceilings 1" in err
    facts = {"cpu": "Another CPU", "onnxruntime": "1.0", "gauge": {**QUIET, "steady": False, "spread": 0.5}}
    where = [changed(folder, tmp_path / "else", **facts), "--ceilings", str(folder / "ceilings.json"), "--json"]
    code, out, err = run(*where)
    warnings = json.loads(out)["warnings"]
    assert [line.partition(",")[0] for line in warnings] == [
        *("the run has onnxruntime 1.0", "the run has processor Another CPU"),
        "in the run the machine changed speed: a loop of fixed arithmetic took up to 50% longer at times",
    ]
    assert all(f"warning: {line}" in err for line in warnings)
    code, out, _ = run(str(folder / "run"), *where[1:])
    assert (code, json.loads(out)["warnings"]) == (0, [])
    code, _, err = run(changed(folder, tmp_path / "gpu", node_times="host launch"))
    assert code == 2
    assert "launching kernels" in err


def on_cuda(folder: Path, to: Path, **facts: object) -> str:
    """The run as one on a GPU would be, with device times."""
    usual = {"provider": "cuda", "node_times": "device", "tf32": False, "gpu": {"name": "A GPU"}, "gauge": QUIET}
    usual["onnxruntime"] = "any"
    return changed(folder, to, **{**usual, **facts})


def cuda_ceilings(to: Path, **facts: object) -> list[str]:
    """Ceilings as they would be measured on a GPU: the option that names their file."""
    cpu = {"provider": "cpu", "threads": 1, "cpu": "any", "cpu_cores": 1, "onnxruntime": "any"}
    all_facts = {**cpu, "provider": "cuda", "gpu": "A GPU", "tf32": False, **facts}
    product, copy = Sample("MatMul", 8192, 0.02, 30, 2 * 8192**3), Sample("Relu", 2**26, 2e-4, 30, 2**29)
    to.write_text(json.dumps(Ceilings(product.giga, copy.giga, (product,), (copy,), all_facts).as_json()))
    return ["--ceilings", str(to)]


def test_a_run_on_a_gpu_under_its_own_ceilings(folder: Path, tmp_path: Path) -> None:
    measured = cuda_ceilings(tmp_path / "c.json")
    code, out, err = run(on_cuda(folder, tmp_path / "device"), *measured)
    assert (code, err) == (0, "")
    assert "cnn on cuda, 1 threads, node times: device; ceilings 54975.6 GFLOP/s, 2684.4 GB/s" in out
    code, out, _ = run(on_cuda(folder, tmp_path / "serial", node_times="serialized"), *measured, "--json")
    output = json.loads(out)
    assert (code, output["node_times"]) == (0, "serialized")
    assert (output["ceilings"]["gpu"], output["ceilings"]["tf32"]) == ("A GPU", False)
    assert "node times: serialized" in run(str(tmp_path / "serial"), *measured)[1]


def test_ceilings_of_something_else_are_refused(folder: Path, tmp_path: Path) -> None:
    gpu_run = on_cuda(folder, tmp_path / "gpu")
    code, out, err = run(gpu_run, "--ceilings", str(folder / "ceilings.json"))
    assert (code, out) == (2, "")
    assert "the ceilings are of provider cpu, the run of cuda; measure with 'ceilings --ep cuda'" in err
    code, _, err = run(str(folder / "run"), *cuda_ceilings(tmp_path / "c.json"))
    assert code == 2
    assert "the ceilings are of provider cuda, the run of cpu" in err
    code, _, err = run(gpu_run, *cuda_ceilings(tmp_path / "t.json", tf32=True))
    assert code == 2
    assert "the ceilings are of TensorFloat-32 on, the run of off; measure with 'ceilings --ep cuda'" in err
    fast = on_cuda(folder, tmp_path / "fast", tf32=True)
    code, _, err = run(fast, *cuda_ceilings(tmp_path / "c.json"))
    assert code == 2
    assert "measure with 'ceilings --ep cuda --tf32'" in err
    code, _, err = run(gpu_run, *cuda_ceilings(tmp_path / "old.json", tf32=None))
    assert code == 2
    assert "TensorFloat-32 unknown" in err


def test_another_gpu_is_another_machine(folder: Path, tmp_path: Path) -> None:
    for name, device in (("A GPU", "A GPU"), (None, "unknown")):
        code, out, err = run(on_cuda(folder, tmp_path / str(name), gpu={"name": name}))
        assert (code, out) == (2, "")
        assert f"the run is from another machine ({device}, this is" in err
    code, _, err = run(on_cuda(folder, tmp_path / "untold", node_times=None))
    assert code == 2
    assert "are not told" in err


def test_the_command_on_bad_input(folder: Path, tmp_path: Path) -> None:
    assert run(str(tmp_path))[0] == 6
    assert run(str(folder / "run"), "--ceilings", str(tmp_path / "none.json"))[0] == 6
    assert run(str(folder / "run"), "--ceilings", str(folder / "ceilings.json"), "--measure")[0] == 2
    assert run(str(folder / "run"), "--by", "colour")[0] == 2


def test_ceilings_for_a_provider_that_is_not_there() -> None:
    result = CliRunner().invoke(main, ["ceilings", "--ep", "nothing"])
    assert result.exit_code == 2
    assert "unknown provider 'nothing'" in result.stderr
    result = CliRunner().invoke(main, ["ceilings", "--tf32"])
    assert result.exit_code == 2
    assert "TensorFloat-32 is not for provider 'cpu'" in result.stderr
