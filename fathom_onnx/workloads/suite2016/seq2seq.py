"""seq2seq: translation by an LSTM encoder and decoder (Sutskever et al. 2014, arXiv:1409.3215) with attention.

The attention is additive (Bahdanau et al. 2015, arXiv:1409.0473).

**Encoder.** A stack of LSTM layers reads the embedded words from last to first. Padding follows the words of a source
sentence, so it is read first, as in TensorFlow's translation model, which Fathom uses; nothing is masked.

**LSTM.** ``i, f, o = sigmoid``, ``g = tanh`` of the four parts of ``W [x; h] + b``, in this order, with ``forget_bias``
added to the part of f; ``c = f * c + i * g``, ``h = o * tanh(c)``.

**Decoder.** It starts from the encoder's last states. At every step the hidden state s of its top layer is the query of
the attention over the encoder's top outputs h_j: ``e_j = v . tanh(W s + U h_j)``, weights ``softmax(e)``, context the
weighted sum of the h_j. The first layer reads the previous word and the context. A linear layer of the top layer's new
state and the context, and a projection to the vocabulary, give the output.

**Symbols.** 0 is padding, 1 (GO) starts the decoder, 2 (EOS) ends a sentence, 3 stands for unknown words.
``target_ids`` are the words to be predicted: the sentence, EOS, padding. In training the decoder reads GO and then all
of them but the last. ``target_weights`` are 1 up to EOS and 0 for padding.

**Training loss.** Sampled softmax cross-entropy (Jean et al. 2015, arXiv:1412.2007) as ``tf.nn.sampled_softmax_loss``
defines it: the softmax is over the target and the sampled classes; the logarithm of the class's expected count
``samples * P(class)`` is subtracted from every logit; a sampled class that is the target (an accidental hit) is left
out, however often it was sampled. ``P(k) = log((k + 2) / (k + 1)) / log(vocabulary + 1)`` is the log-uniform
distribution from which the data source draws ``sampled_ids``, with replacement. A sentence's loss is the weighted mean
over its words, ``sum(w * ce) / (sum(w) + 1e-12)``, and the loss is the mean over sentences (TensorFlow's
``sequence_loss``).

**Inference.** Greedy decoding over all steps: the word with the largest logit of the full projection is the next input.
Words after the first EOS of a row have no meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Draw, GradientDescent, Gradients, Initialiser, Layer, TensorSpec, Workload
from fathom_onnx.workloads.stack import Stack

__all__ = ["DEFINITION", "EOS", "GO", "NO_WEIGHT", "PAD", "UNKNOWN", "Seq2seqConfig", "build"]

PAD, GO, EOS, UNKNOWN = range(4)
"""Ids of the symbols, which come before those of words, as in TensorFlow's translation model."""

NO_WEIGHT = 1e-12
"""Added to a sentence's sum of weights, so that a sentence without words has the loss 0."""

_FATHOM = "Fathom seq2seq (Adolf et al. 2016)"
_TRANSLATE = "TensorFlow's translation model, which Fathom seq2seq uses"
_SUTSKEVER = "Sutskever et al. 2014, section 3.4"


@dataclass(frozen=True)
class Seq2seqConfig:
    """Hyper-parameters of seq2seq."""

    batch: int = setting(64, _FATHOM)
    source_length: int = setting(20, _FATHOM)
    target_length: int = setting(26, f"{_FATHOM}: 25 words and EOS")
    vocabulary: int = setting(40_000, f"{_FATHOM}; the same on both sides")
    embedding: int = setting(256, _FATHOM)
    hidden: int = setting(256, _FATHOM)
    layers: int = setting(3, _FATHOM)
    samples: int = setting(512, f"{_TRANSLATE}: sampled classes")
    learning_rate: float = setting(0.5, _FATHOM)
    clip: float = setting(5.0, f"{_FATHOM}: global norm; also {_SUTSKEVER}")
    forget_bias: float = setting(1.0, "TensorFlow's BasicLSTMCell; Jozefowicz et al. 2015")
    weight_range: float = setting(0.08, f"{_SUTSKEVER}: weights start uniform within it")


def build(preset: str, config: Seq2seqConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: The vocabulary has symbols only.
    """
    c = config
    if c.vocabulary <= UNKNOWN + 1:
        raise ValueError(f"a vocabulary of {c.vocabulary} has no word after its {UNKNOWN + 1} symbols")
    uniform = Initialiser("uniform", c.weight_range)
    gates = 4 * c.hidden
    stack = Stack()

    def layer(name: str, kind: str, **shapes: tuple[int, ...]) -> None:
        stack.add(Layer(name, kind), uniform, **shapes)

    layer("encoder.embedding", "embedding", weight=(c.vocabulary, c.embedding))
    for index in range(c.layers):
        reads = c.hidden if index else c.embedding
        layer(
            f"encoder.lstm{index + 1}",
            "lstm",
            input_weight=(gates, reads),
            hidden_weight=(gates, c.hidden),
            bias=(gates,),
        )
    layer("attention.keys", "linear", weight=(c.hidden, c.hidden))
    layer("decoder.embedding", "embedding", weight=(c.vocabulary, c.embedding))
    # the part of the first decoder layer's gates that depends on the word: in training all steps' words are known
    layer("decoder.input", "linear", weight=(gates, c.embedding), bias=(gates,))
    layer("attention.query", "linear", weight=(c.hidden, c.hidden))
    layer("attention.score", "additive attention", weight=(1, c.hidden))
    layer("attention.context", "weighted sum")
    layer("decoder.lstm1", "lstm cell", weight=(gates, 2 * c.hidden))
    for index in range(1, c.layers):
        layer(f"decoder.lstm{index + 1}", "lstm cell", weight=(gates, 2 * c.hidden), bias=(gates,))
    layer("decoder.output", "linear", weight=(c.hidden, 2 * c.hidden), bias=(c.hidden,))
    layer("projection", "sampled softmax", weight=(c.vocabulary, c.hidden), bias=(c.vocabulary,))
    stack.add(Layer("decoder.argmax", "greedy choice"))
    ids = Draw("integers", 0, c.vocabulary)
    target = (c.batch, c.target_length)
    return Workload(
        name="seq2seq",
        preset=preset,
        config=c,
        features=(TensorSpec("source_ids", (c.batch, c.source_length), "int64", "words, then padding", ids),),
        targets=(
            TensorSpec("target_ids", target, "int64", "words, the end symbol, padding", ids),
            TensorSpec("target_weights", target, meaning="1 up to the end symbol, 0 for padding"),
            TensorSpec("sampled_ids", (c.samples,), "int64", "log-uniform classes, with replacement", ids),
        ),
        parameters=tuple(stack.parameters),
        outputs=(
            TensorSpec("ids", target, "int64", "the words chosen greedily"),
            TensorSpec("scores", target, meaning="logit of each chosen word"),
        ),
        layers=tuple(stack.layers),
        optimizer=GradientDescent(c.learning_rate),
        data="translations",
        gradients=Gradients(clip_global_norm=c.clip),
    )


_PAPER = Seq2seqConfig()

DEFINITION = Definition(
    name="seq2seq",
    summary="LSTM encoder and decoder with attention, sampled softmax",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, batch=16, source_length=10, target_length=13, vocabulary=4000, samples=128),
        "tiny": Seq2seqConfig(
            batch=4, source_length=4, target_length=5, vocabulary=60, embedding=8, hidden=8, layers=2, samples=16
        ),
    },
    build=build,
    fidelity="The original Fathom code reads one sentence and runs greedy forward only; here whole batches are trained "
    "on, as the code it builds on does. Attention asks before the cells and from the top layer's state, as Bahdanau "
    "et al. 2015 describe it; that code asks after them, from all states at once. It samples classes without "
    "replacement and so needs the number of draws it took; here they are drawn with replacement, for which expected "
    "counts are exact. All weights start as in Sutskever et al. 2014. The gradient of an embedding is dense, its rows "
    "summed, and the global norm is that of the sums.",
    papers=(
        "Sutskever, Vinyals and Le, Sequence to Sequence Learning with Neural Networks, NIPS 2014, arXiv:1409.3215",
        "Bahdanau, Cho and Bengio, Neural Machine Translation by Jointly Learning to Align and Translate, ICLR 2015, "
        "arXiv:1409.0473",
        "Jean et al., On Using Very Large Target Vocabulary for Neural Machine Translation, ACL 2015, arXiv:1412.2007",
    ),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
