"""The table of data sources, and how a user names one of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.util import find_spec

from fathom_onnx.errors import UnknownNameError
from fathom_onnx.plugins import named_part, part_names

from .contract import Source
from .corpora import corpus_source, readers
from .example import open_example
from .games.atari import PACKAGE, open_atari
from .games.breakout import open_breakout
from .games.catch import open_catch
from .games.rollouts import open_pendulum
from .images.diffusion import open_diffusion
from .images.digits import open_digits
from .images.photographs import open_photographs
from .records.citations import open_citations
from .records.clicks import open_clicks
from .speech.utterances import open_utterances
from .synthetic import open_synthetic
from .text.stories import open_stories
from .text.tokens import open_tokens
from .text.translations import open_translations

__all__ = [
    "ENTRY_POINT_GROUP",
    "EXAMPLE",
    "SOURCES",
    "SYNTHETIC",
    "named_source",
    "usual_source",
]

ENTRY_POINT_GROUP = "fathom_onnx.sources"
"""Another package adds a data source by an entry point of this group that names a :class:`Source`."""

SYNTHETIC = "synthetic"
"""The source that draws every input at random."""

EXAMPLE = "example"
"""The source that gives the example batch of a recipe."""

_ROWS = (
    Source(
        "digits",
        "real",
        "1797 handwritten digits (UCI optdigits, bundled with scikit-learn), 8x8 enlarged to MNIST's field and margin",
        open_digits,
    ),
    Source(
        "photographs",
        "real",
        "random crops of two photographs (bundled with scikit-learn); the class is the photograph, so 2 classes occur",
        open_photographs,
    ),
    Source(
        "diffusion",
        "real",
        "random crops of two photographs (bundled with scikit-learn), each with a random step of a diffusion process",
        open_diffusion,
    ),
    Source(
        "stories",
        "simulated",
        "stories and questions in the manner of bAbI tasks 1 to 3, told by a simulated world; made to fit the memory",
        open_stories,
    ),
    *(
        Source(
            f"stories-{task}",
            "simulated",
            f"as stories, of task {task} alone: {needed} of the sentences are needed for an answer",
            partial(open_stories, tasks=(task,)),
        )
        for task, needed in ((1, "one"), (2, "two"), (3, "three"))
    ),
    Source(
        "atari",
        "real",
        "Breakout itself, run by the Arcade Learning Environment (ale-py, if installed) and played at random",
        open_atari,
        needs=PACKAGE,
        stand_in="breakout",
    ),
    Source(
        "breakout",
        "simulated",
        "a simulation of Breakout written here, of the console's screen and sizes, played at random",
        open_breakout,
    ),
    Source(
        "catch",
        "simulated",
        "a game of catching a falling ball, whose best player scores 1 in every game; simulated here, played at random",
        open_catch,
    ),
    Source(
        "pendulum",
        "simulated",
        "segments of a pendulum that a seed's starting policy tries to swing up, simulated and played here in NumPy",
        open_pendulum,
    ),
    Source(
        "utterances",
        "simulated",
        "random syllables of TIMIT's 61 phonemes from a formant synthesiser, with their labels; nothing is recorded",
        open_utterances,
    ),
    Source(
        "translations",
        "synthetic",
        "sentences of two made-up languages with Zipf's word frequencies, a fixed dictionary and another word order",
        open_translations,
    ),
    Source(
        "citations",
        "synthetic",
        "a citation graph grown by preferential attachment within planted fields; papers have words of their fields",
        open_citations,
    ),
    Source(
        "clicks",
        "synthetic",
        "logs of impressions: counts, categories of power-law frequencies, and clicks by planted interactions of them",
        open_clicks,
    ),
    Source(
        "tokens",
        "synthetic",
        "endless text of a made-up language: word classes of a Markov chain, Zipf's frequencies, habitual followers",
        open_tokens,
    ),
    Source(
        EXAMPLE,
        "real",
        "the example batch that the model's own recipe has, the same in every step",
        open_example,
    ),
    Source(
        SYNTHETIC,
        "synthetic",
        "values drawn from each input's distribution, in a graph of another origin by how it uses them; no meaning",
        open_synthetic,
    ),
)

SOURCES: dict[str, Source] = {row.name: row for row in _ROWS}
"""The sources of this package, by name. Another data set needs one more row, or :data:`ENTRY_POINT_GROUP`."""


def _known() -> list[str]:
    """The names of all sources, those of other packages last."""
    return list(dict.fromkeys([*SOURCES, *part_names(ENTRY_POINT_GROUP)]))


def usual_source(name: str) -> Source:
    """The source of this name or, where the package that it needs is not installed, its stand-in.

    Raises:
        UnknownNameError: No such source.
        MissingDependencyError: Another package's entry point does not give one.
    """
    own = SOURCES.get(name)  # first: to look for those of other packages takes longer than a short step
    if own is None and name not in (known := _known()):
        raise UnknownNameError("data source", name, known)
    source = own or replace(named_part(ENTRY_POINT_GROUP, name, "data source", Source), name=name)
    return source if not source.stand_in or find_spec(source.needs) else usual_source(source.stand_in)


def named_source(name: str) -> Source:
    """The source that a user names: one of the table, as :func:`usual_source`, or ``READER:PATH``, a corpus on disk.

    Raises:
        UnknownNameError: No such source or reader.
        UsageError: A reader without a path.
        MissingDependencyError: Another package's entry point does not give one.
    """
    if ":" in name:
        return corpus_source(name)
    known = _known()
    if name not in known:
        raise UnknownNameError("data source", name, [*known, *(f"{reader}:PATH" for reader in readers())])
    return usual_source(name)
