"""The game catch: its rules, its best player, and the batches that it makes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.data.games.catch import BEST, CELLS, PADDLE, Catch
from fathom_onnx.workloads import workload

NOTHING, FIRE, RIGHT, LEFT = range(4)


def begun(column: int, paddle: int) -> Catch:
    game = Catch(np.random.default_rng(0))
    game.column, game.paddle = column, paddle
    return game


def played(game: Catch, actions: list[int]) -> float:
    points = 0.0
    for number, action in enumerate(actions, 1):
        more, ended = game.act(action)
        points += more
        assert ended == game.over == (number == CELLS - 1)
    return points


def test_a_ball_is_caught_where_the_paddle_is_under_it() -> None:
    for column in range(CELLS):
        for paddle in range(CELLS - PADDLE + 1):
            stays = played(begun(column, paddle), [NOTHING, FIRE, NOTHING, FIRE, NOTHING])
            assert stays == (1.0 if column in (paddle, paddle + 1) else -1.0)


def test_walls_hold_the_paddle() -> None:
    game = begun(5, 0)
    game.act(LEFT)
    assert game.paddle == 0
    for _ in range(4):
        game.act(RIGHT)
    assert (game.paddle, game.row) == (4, 5)


def test_the_best_player_always_scores() -> None:
    for column in range(CELLS):
        for paddle in range(CELLS - PADDLE + 1):
            game = begun(column, paddle)
            points = 0.0
            while not game.over:
                points += game.act(
                    RIGHT if game.column > game.paddle + 1 else LEFT if game.column < game.paddle else 0
                )[0]
            assert points == BEST


def test_a_random_player_scores_minus_a_third() -> None:
    total = count = 0
    moves = list(itertools.product(range(4), repeat=CELLS - 1))
    for column in range(CELLS):
        for paddle in range(CELLS - PADDLE + 1):
            total += sum(played(begun(column, paddle), list(actions)) for actions in moves[::7])
            count += len(moves[::7])
    assert total / count == pytest.approx(-1 / 3, abs=0.02)


def test_the_screen_shows_ball_and_paddle() -> None:
    game = begun(2, 3)
    cells = game.screen()[::6, ::6]
    assert cells.shape == (6, 6)
    assert {tuple(map(int, place)): int(cells[tuple(place)]) for place in np.argwhere(cells)} == {
        (0, 2): 255,
        (5, 3): 128,
        (5, 4): 128,
    }


def test_batches_are_transitions_of_games_of_five_actions() -> None:
    stream = batches_for(workload("deepq", "tiny"), "training", 0, "catch")
    found = [next(stream) for _ in range(50)]
    ends = np.concatenate([batch["terminals"] for batch in found])
    rewards = np.concatenate([batch["rewards"] for batch in found])
    assert 0.1 < ends.mean() < 0.3
    assert set(np.unique(rewards[ends == 1])) == {-1.0, 1.0}
    assert not rewards[ends == 0].any()
