"""The game behind deepq: rules and picture of the simulation, the emulator's interface, the replay memory."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_onnx.data import SOURCES, batches, batches_for, source_for_graph, sources
from fathom_onnx.data.games.atari import Emulated
from fathom_onnx.data.games.breakout import (
    BRICK_HEIGHT,
    BRICKS_TOP,
    COLUMNS,
    LEFT,
    PADDLE_TOP,
    POINTS,
    RIGHT,
    ROWS,
    TOP,
    Breakout,
)
from fathom_onnx.data.games.replay import ReplayMemory, play
from fathom_onnx.errors import DataError, MissingDependencyError
from fathom_onnx.study.engine import inputs
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import TensorSpec

NOTHING, FIRE, RIGHTWARD, LEFTWARD = range(4)


def game(seed: int = 0) -> Breakout:
    return Breakout(np.random.default_rng(seed))


# the rules


def test_the_ball_waits_to_be_served() -> None:
    g = game()
    assert g.act(NOTHING) == (0.0, False)
    assert g.ball is None
    g.act(FIRE)  # served in the first frame, moved in the other three
    assert g.ball is not None
    assert g.ball[1] == 122 + 3


def test_the_paddle_stops_at_the_walls() -> None:
    g = game()
    for _ in range(20):
        g.act(RIGHTWARD)
    assert g.paddle == RIGHT - 16
    for _ in range(20):
        g.act(LEFTWARD)
    assert g.paddle == LEFT


def test_walls_turn_the_ball_round() -> None:
    g = game()
    g.bricks[:] = False
    g.ball, g.direction = (float(LEFT) + 1, 100.0), (-1.0, -1.0)
    g.act(NOTHING)
    assert (g.ball, g.direction) == ((LEFT + 2.0, 96.0), (1.0, -1.0))
    g.ball, g.direction = (100.0, TOP + 1.0), (0.0, -1.0)
    g.act(NOTHING)
    assert (g.ball, g.direction) == ((100.0, TOP + 2.0), (0.0, 1.0))


@pytest.mark.parametrize("row", range(ROWS))
def test_a_brick_is_worth_its_rows_points_and_turns_the_ball_round(row: int) -> None:
    g = game()
    g.bricks[row + 1 :] = False
    # the ball's middle, two points below its top, reaches the row in the second frame
    g.ball, g.direction = (24.0, float(BRICKS_TOP + (row + 1) * BRICK_HEIGHT - 1)), (0.0, -1.0)
    points, lost = g.act(NOTHING)
    assert (points, lost) == (POINTS[row], False)
    gone = np.argwhere(~g.bricks[: row + 1])
    assert gone.tolist() == [[row, 2]]
    assert g.direction == (0.0, 1.0)


def test_the_last_brick_brings_a_new_wall() -> None:
    g = game()
    g.bricks[:] = False
    g.bricks[5, 2] = True
    g.ball, g.direction = (24.0, float(BRICKS_TOP + ROWS * BRICK_HEIGHT)), (0.0, -1.0)
    assert g.act(NOTHING)[0] == 1
    assert g.bricks.all()


def test_the_paddle_sends_the_ball_up_the_flatter_the_farther_from_its_middle() -> None:
    seen = []
    for offset in (-1, 3, 7, 11, 15):
        g = game()
        g.ball, g.direction = (float(g.paddle + offset), PADDLE_TOP - 5.0), (0.0, 1.0)
        g.act(NOTHING)
        assert g.direction[1] == -1
        seen.append(g.direction[0])
    assert seen == sorted(seen)
    assert seen[2] == 0
    assert seen[0] == -seen[4]


def test_the_ball_grows_faster_with_touches_of_the_paddle() -> None:
    distances = []
    for touches in (0, 4, 12):
        g = game()
        g.ball, g.direction, g._touches = (60.0, 120.0), (0.0, 1.0), touches
        g.act(NOTHING)
        distances.append(g.ball[1] - 120)
    assert distances == [4, 6, 8]


def test_a_game_has_five_lives() -> None:
    g = game()
    for left in (4, 3, 2, 1, 0):
        g.ball, g.direction = (100.0, 204.0), (0.0, 1.0)
        assert g.act(NOTHING) == (0.0, True)
        assert (g.lives, g.ball, g.over) == (left, None, left == 0)
    assert g.act(FIRE) == (0.0, False)  # nothing happens any more
    assert g.ball is None
    g.reset()
    assert (g.lives, g.over) == (5, False)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_a_random_game_stays_within_its_field(seed: int) -> None:
    g = game(seed)
    rng = np.random.default_rng(seed)
    broken, points = 0, 0.0
    while not g.over:
        before, lives = g.bricks.sum(), g.lives
        made, lost = g.act(int(rng.integers(4)))
        points += made
        broken += int(before - g.bricks.sum())
        assert lives - g.lives == lost
        assert LEFT <= g.paddle <= RIGHT - 16
        if g.ball is not None:
            assert LEFT <= g.ball[0] <= RIGHT - 2
            assert TOP <= g.ball[1] < 206
        if g.lives and g.bricks.all() and broken:
            break  # a new wall, so that the count starts anew
    assert broken <= points <= 7 * broken


def test_the_picture() -> None:
    g = game()
    g.bricks[0, 0] = False
    g.ball = (80.0, 150.0)
    screen = g.screen()
    assert screen.shape == (210, 160)
    assert screen.dtype == np.uint8
    assert (screen[17:32] == 142).all()
    assert (screen[17:193, :8] == 142).all()
    assert (screen[17:193, 152:] == 142).all()
    assert (screen[57:63, 8:16] == 0).all()
    assert (screen[57:63, 16:152] == 110).all()
    assert [int(screen[60 + 6 * row, 100]) for row in range(ROWS)] == [110, 129, 131, 148, 124, 85]
    assert (screen[93:189, 8:152] > 0).sum() == 2 * 4
    assert (screen[150:154, 80:82] == 110).all()
    assert (screen[189:193, 8:152] > 0).sum() == 16 * 4
    assert (screen[193:] == 0).all()
    assert g.bricks.shape == (ROWS, COLUMNS)


# the replay memory


class Scripted:
    """A game whose screen is all of one brightness: the number of actions so far."""

    def __init__(self, script: list[tuple[float, bool, bool]]) -> None:
        self.script, self.at, self.over, self.resets, self.actions = script, 0, False, 0, []

    def reset(self) -> None:
        self.over, self.resets = False, self.resets + 1

    def act(self, action: int) -> tuple[float, bool]:
        points, lost, self.over = self.script[self.at]
        self.at += 1
        self.actions.append(action)
        return points, lost

    def screen(self) -> np.ndarray:
        return np.full((210, 160), 10 * self.at, "uint8")


def test_playing_fills_the_memory() -> None:
    scripted = Scripted([(0, False, False), (7, False, False), (0, True, False), (-3, False, False), (0, True, True)])
    memory = play(scripted, 6, 5, np.random.default_rng(0))
    assert memory.frames.shape == (6, 6, 6)
    assert memory.frames[:, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert memory.rewards.tolist() == [0, 1, 0, -1, 0]
    assert memory.terminals.tolist() == [False, False, True, False, True]
    assert memory.starts.tolist() == [0, 0, 0, 3, 3, 5]
    assert memory.actions.tolist() == scripted.actions
    assert scripted.resets == 1


def test_a_state_is_the_last_frames_of_its_episode() -> None:
    frames = np.arange(0, 255, 51, dtype="uint8")[:, None, None] * np.ones((1, 2, 2), "uint8")
    none = np.zeros(4)
    memory = ReplayMemory(frames, np.array([0, 0, 0, 3, 3]), none, none, none)
    states = memory.states(np.array([2, 3, 4, 0]), 3)
    assert states.dtype == np.float32
    assert states.shape == (4, 3, 2, 2)
    np.testing.assert_allclose(states[:, :, 0, 0], [[0, 0.2, 0.4], [0, 0, 0.6], [0, 0.6, 0.8], [0, 0, 0]], rtol=1e-6)


SPECS = workload("deepq", "tiny", {"batch": 64}).batch_inputs("training")


def test_batches_are_transitions() -> None:
    batch = next(batches("breakout", SPECS, 2))
    assert {n: (a.shape, str(a.dtype)) for n, a in batch.items()} == {s.name: (s.shape, s.dtype) for s in SPECS}
    for name in ("states", "next_states"):
        assert 0 == batch[name].min() < batch[name].max() <= 1
    goes_on = batch["terminals"] == 0
    assert 0 < goes_on.sum() < 64
    # the next state is the state one frame on, with nothing older than its episode
    states, following = batch["states"], batch["next_states"]
    np.testing.assert_array_equal(following[goes_on, :3], states[goes_on, 1:])
    assert (following[~goes_on, :3] == 0).all()
    assert (following[~goes_on, 3].max((1, 2)) > 0).all()
    assert (batch["actions"].sum(1) == 1).all()
    assert set(np.unique(batch["rewards"])) <= {0, 1}


def test_rewards_come_up_and_are_rare() -> None:
    stream = batches("breakout", SPECS, 0)
    rewards = np.concatenate([next(stream)["rewards"] for _ in range(30)])
    assert 0 < rewards.mean() < 0.05


def test_states_are_the_same_whatever_is_asked_for_with_them() -> None:
    alone = next(batches("breakout", [s for s in SPECS if s.name == "states"], 5))
    np.testing.assert_array_equal(alone["states"], next(batches("breakout", SPECS, 5))["states"])
    assert (alone["states"] != next(batches("breakout", SPECS, 6))["states"]).any()


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([TensorSpec("rewards", (4,))], "asked for no frames"),
        ([TensorSpec("images", (4, 4, 36, 36))], "has no input 'images'"),
        ([TensorSpec("states", (4, 4, 36, 30))], r"cannot fill states of shape \[4, 4, 36, 30\]"),
        ([TensorSpec("states", (4, 36))], "cannot fill states"),
        ([TensorSpec("states", (4, 4, 36, 36)), TensorSpec("actions", (4, 6))], r"actions .* ask for \[4, 4\]"),
        ([TensorSpec("states", (4, 4, 36, 36)), TensorSpec("rewards", (5,))], r"rewards .* ask for \[4\]"),
        ([TensorSpec("states", (4, 4, 36, 36)), TensorSpec("next_states", (4, 3, 36, 36))], "cannot fill next_states"),
    ],
)
@pytest.mark.parametrize("source", ["breakout", "atari"])
def test_what_cannot_be_fed_is_refused_before_anything_is_played(specs, message, source) -> None:
    with pytest.raises(DataError, match=message):
        batches(source, specs, 0)


# the emulator


class FakeEmulator:
    """ale-py's interface with frames whose pixels tell their number: even ones draw left, odd ones right."""

    def __init__(self) -> None:
        self.log: list[object] = []
        self.frame, self.left = 0, 3

    @staticmethod
    def setLoggerMode(mode: object) -> None:  # noqa: N802
        pass

    def setInt(self, name: str, value: int) -> None:  # noqa: N802
        self.log.append((name, value))

    def setFloat(self, name: str, value: float) -> None:  # noqa: N802
        self.log.append((name, value))

    def loadROM(self, path: str) -> None:  # noqa: N802
        if path is None:
            raise TypeError("loadROM(): incompatible function arguments")
        self.log.append(path)

    def getMinimalActionSet(self) -> list[str]:  # noqa: N802
        return ["NOOP", "FIRE", "RIGHT", "LEFT"]

    def getScreenGrayscale(self) -> np.ndarray:  # noqa: N802
        screen = np.zeros((210, 160), "uint8")
        screen[:, 80 * (self.frame % 2) :][:, :80] = self.frame
        return screen

    def act(self, action: str) -> int:
        self.log.append(action)
        self.frame += 1
        self.left -= self.frame == 6
        return self.frame

    def lives(self) -> int:
        return self.left

    def game_over(self) -> bool:
        return self.left == 0

    def reset_game(self) -> None:
        self.frame = 100


@pytest.fixture
def fake_ale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    package, roms = ModuleType("ale_py"), ModuleType("ale_py.roms")
    package.ALEInterface = FakeEmulator
    package.LoggerMode = SimpleNamespace(Error=2)
    package.roms = roms
    roms.get_rom_path = lambda name: f"{name}.bin"
    monkeypatch.setitem(sys.modules, "ale_py", package)
    monkeypatch.setitem(sys.modules, "ale_py.roms", roms)
    return package


def test_the_emulator_is_asked_for_what_the_paper_did(fake_ale) -> None:
    emulated = Emulated(9)
    assert emulated.act(2) == (1 + 2 + 3 + 4, False)
    # frames 3 and 4, which draw right and left
    assert np.unique(emulated.screen(), axis=0).tolist() == [[4] * 80 + [3] * 80]
    assert emulated.act(1) == (5 + 6 + 7 + 8, True)
    assert not emulated.over
    log = emulated._ale.log
    assert log == [
        ("random_seed", 9),
        ("repeat_action_probability", 0.0),
        "breakout.bin",
        *["RIGHT"] * 4,
        *["FIRE"] * 4,
    ]
    emulated.reset()
    assert np.unique(emulated.screen()).tolist() == [0, 100]


def test_an_emulator_without_the_game_is_named(fake_ale, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_ale.ALEInterface, "getMinimalActionSet", lambda self: ["NOOP"] * 18)
    with pytest.raises(DataError, match=r"'breakout' has 18 actions, not 4; install ale-py"):
        Emulated(0)
    fake_ale.roms.get_rom_path = lambda name: None
    with pytest.raises(DataError, match=r"does not have the game 'breakout' \(loadROM"):
        Emulated(0)


def test_without_the_emulator_a_workload_gets_the_simulation(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    made = workload("deepq", "tiny")
    graph = tiny("deepq", "torch", "training")
    assert (SOURCES["atari"].kind, SOURCES["breakout"].kind) == ("real", "simulated")
    monkeypatch.setattr(sources, "find_spec", lambda name: object())
    assert source_for_graph(graph).name == "atari"
    monkeypatch.setattr(inputs, "package_version", {"ale_py": "0.11"}.get)
    assert inputs._data(SimpleNamespace(workload=made, source=None, own=None)) == ["atari", "0.11"]
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    assert source_for_graph(graph).name == "breakout"
    got, wanted = (next(batches_for(made, "training", 1, source)) for source in (None, "breakout"))
    assert all((got[name] == wanted[name]).all() for name in wanted)
    # a study does its work again when the emulator comes or goes
    assert inputs._data(SimpleNamespace(workload=made, source=None, own=None)) == ["breakout", ""]
    # who asks for the emulator by name gets it or an error
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(MissingDependencyError, match=r"needs ale-py .* pip install 'fathom-onnx\[atari\]'"):
        batches("atari", SPECS, 11)


def test_the_emulated_game() -> None:
    pytest.importorskip("ale_py")
    batch = next(batches("atari", SPECS, 0))
    assert {n: a.shape for n, a in batch.items()} == {s.name: s.shape for s in SPECS}
    goes_on = batch["terminals"] == 0
    np.testing.assert_array_equal(batch["next_states"][goes_on, :3], batch["states"][goes_on, 1:])
