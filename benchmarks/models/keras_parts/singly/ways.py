"""Ways in which people build and train models: what is shared, frozen, kept, returned, weighted, looped over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L
from keras import ops

from ..making import CLASSES, chain, normal, sparse, whole

__all__ = ["WAYS"]

MSE = keras.losses.MeanSquaredError()


def _shared() -> Any:
    """One layer called on two inputs."""
    a, b = L.Input((6,)), L.Input((6,))
    layer = L.Dense(8, "tanh")
    h = L.Concatenate()([layer(a), layer(layer(b)[:, :6])])
    return keras.Model([a, b], L.Dense(CLASSES)(h)), [normal(4, 6), normal(4, 6)], whole(CLASSES, 4), sparse()


def _shared_norm() -> Any:
    """A normalisation called twice: its running mean moves twice."""
    x = L.Input((6,))
    norm = L.BatchNormalization()
    h = norm(L.Dense(6, "relu")(norm(L.Dense(6)(x))))
    return keras.Model(x, L.Dense(CLASSES)(h)), normal(4, 6), whole(CLASSES, 4), sparse()


def _siamese() -> Any:
    """A model called on two inputs, and a loss of one's own."""
    tower = chain((6,), L.Dense(8, "relu"), L.BatchNormalization(), L.Dense(4))
    a, b = L.Input((6,)), L.Input((6,))
    left, right = tower(a), tower(b)
    distance = L.Lambda(lambda t: ops.sqrt(ops.sum(ops.square(t[0] - t[1]), -1, keepdims=True) + 1e-7))([left, right])

    def contrast(same: Any, d: Any) -> Any:
        same = ops.cast(same, d.dtype)
        return ops.mean(same * ops.square(d) + (1 - same) * ops.square(ops.maximum(1.0 - d, 0.0)))

    return keras.Model([a, b], distance), [normal(4, 6), normal(4, 6)], tf.constant([[0], [1], [1], [0]]), contrast


def _nested() -> Any:
    """Models within models, one of them frozen."""
    base = chain((8, 8, 3), L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU())
    base.trainable = False
    x = L.Input((8, 8, 3))
    h = L.GlobalAveragePooling2D()(base(x, training=False))
    return keras.Model(x, L.Dense(CLASSES)(h)), normal(2, 8, 8, 3), whole(CLASSES, 2), sparse()


def _fine_tuned() -> Any:
    """A network whose normalisations are frozen and whose last layers are trained."""
    model = chain((8, 8, 3), L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU(), L.Conv2D(4, 3), L.BatchNormalization())
    for layer in model.layers:
        layer.trainable = isinstance(layer, L.Conv2D)
    x = model.inputs[0]
    h = L.Dense(CLASSES)(L.GlobalAveragePooling2D()(model(x)))
    return keras.Model(x, h), normal(2, 8, 8, 3), whole(CLASSES, 2), sparse()


class _Block(L.Layer):
    """Layers in a list and in a dict, a weight, a mask."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.parts = [L.Dense(6, "relu"), L.Dense(6)]
        self.named = {"norm": L.LayerNormalization()}

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        for part in self.parts:
            part.build(shape)
        self.named["norm"].build(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        h = x
        for part in self.parts:
            h = part(h)
        if training:
            self.add_loss(0.01 * ops.sum(ops.square(h)))
        return self.named["norm"](x + self.scale * h)


class _Subclassed(keras.Model):
    """Subclassed, with an argument by keyword and several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [_Block(), _Block()]
        self.drop = L.Dropout(0.2)
        self.out = L.Dense(CLASSES)

    def call(self, inputs: Any, training: bool = False) -> Any:
        h = inputs["a"]
        for block in self.blocks:
            h = block(h, training=training)
        h = self.drop(h, training=training) * ops.expand_dims(inputs["b"], 1)
        return {"logits": self.out(h), "features": h}


def _subclassed() -> Any:
    losses = {"logits": sparse(), "features": None}
    inputs = {"a": normal(4, 6), "b": normal(4)}
    return _Subclassed(), inputs, {"logits": whole(CLASSES, 4), "features": normal(4, 6)}, losses


class _OwnStep(keras.Model):
    """A train_step of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.out = L.Dense(CLASSES)

    def call(self, x: Any) -> Any:
        return self.out(x)

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            value = self.compute_loss(x, y, self(x, training=True))
        self.optimizer.apply(
            tape.gradient(value, [v.value for v in self.trainable_variables]), self.trainable_variables
        )
        return {"loss": value}


class _OwnLoss(keras.Model):
    """A compute_loss of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.out = L.Dense(CLASSES)

    def call(self, x: Any) -> Any:
        return self.out(x)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        return ops.mean(ops.square(y - y_pred)) + 0.1 * ops.mean(ops.abs(y_pred))


class _Autoencoder(keras.Model):
    """A variational one: a draw between its halves, a term of the loss by add_loss."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = L.Dense(8, "relu"), L.Dense(6)
        self.mean, self.spread = L.Dense(3), L.Dense(3)
        self.seeds = keras.random.SeedGenerator(2)

    def call(self, x: Any) -> Any:
        h = self.encoder(x)
        mean, spread = self.mean(h), self.spread(h)
        z = mean + ops.exp(0.5 * spread) * keras.random.normal(ops.shape(mean), seed=self.seeds)
        self.add_loss(-0.5 * ops.mean(1 + spread - ops.square(mean) - ops.exp(spread)))
        return self.decoder(z)


def _vae() -> Any:
    x = normal(4, 6)
    return _Autoencoder(), x, x, MSE


class _Draws(L.Layer):
    """Draws of each distribution of keras.random, from a generator of its own."""

    def __init__(self, draw: Callable[..., Any], **more: Any) -> None:
        super().__init__(**more)
        self.draw, self.seeds = draw, keras.random.SeedGenerator(1)

    def call(self, x: Any) -> Any:
        return x + 0.1 * ops.cast(self.draw(x, self.seeds), x.dtype)


def _drawing(draw: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: (
        chain((6,), L.Dense(8), _Draws(draw), L.Dense(CLASSES)),
        normal(4, 6),
        whole(CLASSES, 4),
        sparse(),
    )


class _Looped(L.Layer):
    """A loop of TensorFlow or of Keras over a number of steps that is known."""

    def __init__(self, how: str, **more: Any) -> None:
        super().__init__(**more)
        self.how = how

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x: Any) -> Any:
        def body(h: Any) -> Any:
            return ops.tanh(h @ self.kernel)

        if self.how == "tf.while_loop":
            return tf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, body(h)), (tf.constant(0), x))[1]
        if self.how == "tf.while_loop maximum_iterations":
            return tf.while_loop(lambda h: True, lambda h: (body(h),), (x,), maximum_iterations=3)[0]
        if self.how == "ops.while_loop":
            return ops.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, body(h)), (0, x))[1]
        if self.how == "ops.fori_loop":
            return ops.fori_loop(0, 3, lambda i, h: body(h), x)
        if self.how == "ops.scan":
            return ops.scan(lambda h, _: (body(h), body(h)), x, ops.arange(3))[1][-1]
        if self.how == "tf.scan":
            return tf.scan(lambda h, _: body(h), tf.range(3), initializer=x)[-1]
        if self.how == "tf.map_fn":
            return tf.map_fn(lambda row: body(row[None])[0], x)
        if self.how == "ops.map":
            return ops.map(lambda row: body(row[None])[0], x)
        if self.how == "ops.vectorized_map":
            return ops.vectorized_map(lambda row: body(row[None])[0], x)
        if self.how == "ops.associative_scan":
            return ops.associative_scan(lambda a, b: a * b, body(x), axis=1)
        if self.how == "ops.cond":
            return ops.cond(ops.sum(x) > 0, lambda: body(x), lambda: x)
        if self.how == "ops.switch":
            return ops.switch(ops.cast(ops.sum(x) > 0, "int32"), [lambda y: body(y), lambda y: 2 * y], x)
        if self.how == "tf.cond":
            return tf.cond(tf.reduce_sum(x) > 0, lambda: body(x), lambda: x)
        if self.how == "tf.case":
            return tf.case([(tf.reduce_sum(x) > 5, lambda: body(x)), (tf.reduce_sum(x) > 0, lambda: 2 * x)], lambda: x)
        if self.how == "tf.switch_case":
            return tf.switch_case(tf.cast(tf.reduce_sum(x) > 0, tf.int32), [lambda: body(x), lambda: 2 * x])
        if self.how == "while by values":
            return tf.while_loop(lambda h: tf.reduce_sum(tf.abs(h)) > 1e-3, lambda h: (0.5 * body(h),), (x,))[0]
        if self.how == "TensorArray":
            array = tf.TensorArray(tf.float32, 3)
            for i in range(3):
                array = array.write(i, body(x) * (i + 1.0))
            return tf.reduce_sum(array.stack(), 0)
        if self.how == "custom_gradient":

            @tf.custom_gradient
            def clipped(h: Any) -> Any:
                return h * h, lambda dy: tf.clip_by_value(dy, -0.1, 0.1)

            return clipped(body(x))
        if self.how == "ops.custom_gradient":

            @ops.custom_gradient
            def straight(h: Any) -> Any:
                def grad(*args: Any, upstream: Any = None) -> Any:
                    return args[0] if upstream is None else upstream

                return ops.round(h), grad

            return straight(body(x))
        if self.how == "recompute_grad":
            return tf.recompute_grad(lambda h: body(h))(x)
        if self.how == "remat":
            return keras.remat(lambda h: body(h))(x)
        if self.how == "tf.function":
            return tf.function(body)(x)
        if self.how == "jit_compile":
            return tf.function(body, jit_compile=True)(x)
        raise ValueError(self.how)


def _looped(how: str) -> Callable[[], Any]:
    return lambda: (
        keras.Sequential([L.Input((6,), batch_size=4), L.Dense(6), _Looped(how), L.Dense(CLASSES)]),
        normal(4, 6),
        whole(CLASSES, 4),
        sparse(),
    )


_LOOPS = ("tf.while_loop", "tf.while_loop maximum_iterations", "ops.while_loop", "ops.fori_loop", "ops.scan", "tf.scan",
          "tf.map_fn", "ops.map", "ops.vectorized_map", "ops.associative_scan", "ops.cond", "ops.switch", "tf.cond",
          "tf.case", "tf.switch_case", "while by values", "TensorArray", "custom_gradient", "ops.custom_gradient",
          "recompute_grad", "remat", "tf.function", "jit_compile")  # fmt: skip


class _Operation(L.Layer):
    """One function of keras.ops or TensorFlow, with a trained layer before and after."""

    def __init__(self, function: Callable[..., Any], **more: Any) -> None:
        super().__init__(**more)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def _operation(function: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: (
        keras.Sequential([L.Input((6,), batch_size=4), L.Dense(8), _Operation(function), *_last()]),
        normal(4, 6),
        whole(CLASSES, 4),
        sparse(),
    )


def _last() -> list[Any]:
    return [L.Flatten(), L.Dense(CLASSES)]


_SEGMENTS = np.array([0, 0, 1, 3])

_OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "lgamma": lambda x: tf.math.lgamma(tf.abs(x) + 1),
    "digamma": lambda x: tf.math.digamma(tf.abs(x) + 1),
    "sorted segment_sum": lambda x: tf.ensure_shape(tf.math.segment_sum(x, _SEGMENTS), (4, 8)),
    "sorted segment_mean": lambda x: tf.ensure_shape(tf.math.segment_mean(x, _SEGMENTS), (4, 8)),
    "sorted segment_max": lambda x: tf.ensure_shape(tf.math.segment_max(x, _SEGMENTS), (4, 8)),
    "unsorted_segment_mean": lambda x: tf.math.unsorted_segment_mean(x, _SEGMENTS, 4),
    "ops.segment_sum sorted": lambda x: tf.ensure_shape(ops.segment_sum(x, _SEGMENTS, sorted=True), (4, 8)),
    "ops.segment_max": lambda x: ops.segment_max(x, np.array([0, 2, 1, 3]), 4),
    "ops.logsumexp": lambda x: ops.logsumexp(x, -1, keepdims=True) + x,
    "ops.erfinv": lambda x: ops.erfinv(ops.tanh(x)),
    "ops.top_k": lambda x: ops.top_k(x, 3)[0],
    "ops.sort": lambda x: ops.sort(x, -1),
    "ops.argsort": lambda x: ops.take_along_axis(x, ops.argsort(x, -1), -1),
    "ops.in_top_k": lambda x: x * ops.expand_dims(ops.cast(ops.in_top_k(ops.arange(4), x, 3), "float32"), -1),
    "ops.nan_to_num": lambda x: ops.nan_to_num(x),
    "ops.fft": lambda x: ops.fft((x, ops.zeros_like(x)))[0],
    "ops.rfft": lambda x: ops.rfft(x)[0],
    "ops.inv": lambda x: ops.inv(ops.reshape(x, (4, 2, 2, 2))[:, 0] + 5.0 * ops.eye(2)),
    "ops.det": lambda x: ops.det(ops.reshape(x, (4, 2, 2, 2)))[:, :, None],
    "ops.norm": lambda x: x / ops.norm(x, axis=-1, keepdims=True),
    "ops.cholesky": lambda x: ops.cholesky(ops.matmul(x[:, :2, None], x[:, None, :2]) + ops.eye(2)),
    "ops.unique": lambda x: x * ops.cast(ops.size(tf.unique(tf.reshape(tf.round(x), [-1]))[0]), "float32"),
    "tf.boolean_mask": lambda x: tf.reduce_sum(tf.boolean_mask(x, x > 0)) * x,
    "tf.where indices": lambda x: x * tf.reduce_sum(tf.cast(tf.where(x > 0), tf.float32)),
    "ops.quantile": lambda x: ops.quantile(x, 0.3, axis=-1, keepdims=True) + x,
    "ops.median": lambda x: ops.median(x, axis=-1, keepdims=True) + x,
    "ops.cumsum": lambda x: ops.cumsum(x, -1),
    "ops.cumprod": lambda x: ops.cumprod(x, -1),
    "ops.einsum": lambda x: ops.einsum("bi,bj->bij", x, x),
    "ops.roll": lambda x: ops.roll(x, 2, -1),
    "ops.flip": lambda x: ops.flip(x, -1),
    "ops.tril": lambda x: ops.tril(ops.reshape(x, (4, 2, 4))),
    "ops.pad reflect": lambda x: ops.pad(x, ((0, 0), (2, 2)), "reflect"),
    "ops.repeat": lambda x: ops.repeat(x, 2, -1),
    "ops.meshgrid": lambda x: x + ops.meshgrid(ops.arange(8.0), ops.arange(4.0))[0],
    "ops.slice_update": lambda x: ops.slice_update(x, (0, 1), x[:, :2]),
    "ops.scatter": lambda x: ops.scatter(np.array([[0], [2], [2], [5]]), x, (6, 8))[:4],
    "ops.scatter_update": lambda x: ops.scatter_update(x, np.array([[0], [2]]), x[:2] * 2),
    "ops.slice": lambda x: ops.slice(x, (0, 2), (4, 3)),
    "ops.one_hot": lambda x: ops.one_hot(ops.cast(ops.abs(x), "int32"), 5) * x[:, :, None],
    "ops.digitize": lambda x: x * ops.cast(ops.digitize(x, np.array([-1.0, 0.0, 1.0])), "float32"),
    "ops.bincount": lambda x: x * ops.cast(ops.bincount(np.array([0, 1, 1, 3]), minlength=8), "float32"),
    "ops.histogram": lambda x: x * ops.cast(ops.histogram(ops.reshape(x, (-1,)), 4, (-2, 2))[0][0], "float32"),
    "ops.image.affine_transform": lambda x: ops.image.affine_transform(
        ops.reshape(x, (4, 2, 4, 1)), np.tile([[1, 0.1, 0, 0.1, 1, 0, 0, 0]], (4, 1)).astype("float32")
    ),
    "ops.image.extract_patches": lambda x: ops.image.extract_patches(ops.reshape(x, (4, 2, 4, 1)), 2),
    "ops.image.map_coordinates": lambda x: (
        x[:, :2] * ops.image.map_coordinates(x, np.array([[0.5, 1.5], [1.5, 2.5]], "float32"), 1)
    ),
    "ops.image.gaussian_blur": lambda x: ops.image.gaussian_blur(ops.reshape(x, (4, 2, 4, 1)), (3, 3), (1.0, 1.0)),
    "ops.image.rgb_to_hsv": lambda x: ops.image.rgb_to_hsv(ops.sigmoid(ops.reshape(x[:, :6], (4, 1, 2, 3)))),
    "ops.extract_sequences": lambda x: ops.extract_sequences(x, 4, 2),
    "ops.unfold": lambda x: ops.unfold(ops.reshape(x, (4, 2, 2, 2)), 2),
    "ops.nn.dot_product_attention": lambda x: ops.dot_product_attention(*[ops.reshape(x, (4, 2, 2, 2))] * 3),
    "ops.moveaxis": lambda x: ops.moveaxis(ops.reshape(x, (4, 2, 4)), 1, 2),
    "ops.var, std": lambda x: (x - ops.mean(x, -1, keepdims=True)) / (ops.std(x, -1, keepdims=True) + ops.var(x)),
    "ops.argmax": lambda x: x * ops.cast(ops.argmax(x, -1, keepdims=True), "float32"),
    "ops.logaddexp": lambda x: ops.logaddexp(x, 2 * x),
    "ops.hypot": lambda x: ops.hypot(x, x + 1),
    "ops.arctan2": lambda x: ops.arctan2(x, x + 1),
    "ops.prod": lambda x: ops.prod(x, -1, keepdims=True) + x,
    "ops.trace": lambda x: ops.trace(ops.reshape(x, (4, 2, 2, 2)), axis1=1, axis2=2),
    "ops.diagonal": lambda x: ops.diagonal(ops.reshape(x, (4, 2, 4)), axis1=1, axis2=2),
    "ops.searchsorted": lambda x: (
        x * ops.cast(ops.searchsorted(ops.convert_to_tensor([-1.0, 0.0, 1.0]), x[0]), "float32")
    ),
    "tf.nn.ctc_loss": lambda x: (
        x
        * tf.reduce_mean(
            tf.nn.ctc_loss(tf.constant([[1], [2]]), tf.reshape(x, (4, 2, 4)), [1, 1], [4, 4], blank_index=0)
        )
    ),
    "tf.image.non_max_suppression": lambda x: (
        x * tf.cast(tf.size(tf.image.non_max_suppression(tf.abs(x[:, :4]), x[:, 0], 2)), tf.float32)
    ),
    "tf.gather batch_dims": lambda x: tf.gather(x, tf.constant([[0, 2], [1, 1], [3, 0], [7, 5]]), batch_dims=1),
    "tf.py_function": lambda x: tf.reshape(tf.py_function(lambda y: 2 * y, [x], tf.float32), x.shape),
    "tf.numpy_function": lambda x: tf.reshape(tf.numpy_function(lambda y: 2 * y, [x], tf.float32), x.shape),
    "tf.sparse": lambda x: tf.sparse.sparse_dense_matmul(tf.sparse.from_dense(tf.eye(4)), x),
    "tf.ragged": lambda x: tf.reduce_sum(tf.RaggedTensor.from_row_lengths(tf.reshape(x, [-1]), [5, 20, 7]), 1)[:1] * x,
    "tf.math.igamma": lambda x: tf.math.igamma(tf.abs(x) + 1, tf.abs(x)),
    "tf.math.bessel_i0": lambda x: tf.math.bessel_i0(x),
    "tf.linalg.expm": lambda x: tf.linalg.expm(tf.reshape(x[:, :4], (4, 2, 2))),
    "tf.linalg.svd": lambda x: x * tf.linalg.svd(x, compute_uv=False)[0],
    "tf.random.shuffle": lambda x: tf.random.shuffle(x),
}


class _Module(tf.Module):
    """Without Keras: dilated convolution, a moving average, a conditional by its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = tf.Variable(np.random.normal(size=(3, 3, 2, 4)).astype("float32"), name="filters")
        self.bias = tf.Variable(tf.zeros(4), name="bias")
        self.out = tf.Variable(np.random.normal(size=(4, CLASSES)).astype("float32"), name="out")
        self.mean = tf.Variable(tf.zeros(4), trainable=False, name="mean")

    def __call__(self, x: Any, training: bool = False) -> Any:
        h = tf.nn.bias_add(tf.nn.conv2d(x, self.filters, 1, "SAME", dilations=2), self.bias)
        mean = tf.reduce_mean(h, [0, 1, 2])
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * mean)
        return tf.reduce_mean(tf.nn.relu(h - (mean if training else self.mean)), [1, 2]) @ self.out


class _Compiled(tf.Module):
    """A module whose call is a tf.function with a signature, compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.w = tf.Variable(np.random.normal(size=(6, CLASSES)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec((None, 6))], jit_compile=True)
    def __call__(self, x: Any) -> Any:
        return tf.nn.softplus(x) @ self.w


def _compiled_model(**options: Any) -> Any:
    model = chain((6,), L.Dense(8, "relu"), L.Dense(CLASSES))
    model.compile(keras.optimizers.Adam(0.01), sparse(), metrics=["accuracy"], **options)
    return model, normal(4, 6), whole(CLASSES, 4), None, None


def _weighted_outputs() -> Any:
    """Compiled with losses by name, weights of these, and sample weights."""
    x = L.Input((6,))
    h = L.Dense(8, "relu")(x)
    model = keras.Model(x, {"a": L.Dense(CLASSES, name="a")(h), "b": L.Dense(1, name="b")(h)})
    model.compile("adam", {"a": sparse(), "b": "mae"}, {"a": 0.3, "b": 2.0})
    weights = {"a": tf.constant([1.0, 2.0, 0.0, 0.5]), "b": tf.constant([1.0, 0.0, 1.0, 3.0])}
    return model, normal(4, 6), {"a": whole(CLASSES, 4), "b": normal(4, 1)}, None, None, weights


def _mixed() -> Any:
    """Mixed precision, to be refused."""
    return chain((6,), L.Dense(8, dtype="mixed_float16"), L.Dense(CLASSES)), normal(4, 6), whole(CLASSES, 4), sparse()


def _text() -> Any:
    """Text within the model, to be refused."""
    layer = L.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    model = keras.Sequential([L.Input((1,), dtype="string"), layer, L.Dense(CLASSES)])
    return model, tf.constant([["a"], ["b"], ["c"]]), whole(CLASSES, 3), sparse()


def _transformer() -> Any:
    """A decoder: tied embeddings, causal attention, dropout."""
    ids = L.Input((6,), dtype="int32")
    table = L.Embedding(12, 8)
    h = table(ids) + L.Embedding(6, 8)(ops.arange(6))
    for _ in range(2):
        n = L.LayerNormalization()(h)
        h = h + L.MultiHeadAttention(2, 4, dropout=0.1)(n, n, use_causal_mask=True)
        n = L.LayerNormalization()(h)
        h = h + L.Dropout(0.1)(L.Dense(8)(L.Dense(16, "gelu")(n)))
    logits = L.Dense(12)(h)
    return keras.Model(ids, logits), whole(12, 2, 6), whole(12, 2, 6), sparse()


class _Stateful(L.Layer):
    """State of several kinds: whole numbers, booleans, a queue."""

    def build(self, shape: Any) -> None:
        self.steps = self.add_weight(shape=(), dtype="int32", trainable=False, initializer="zeros", name="steps")
        self.seen = self.add_weight(shape=(), dtype="bool", trainable=False, initializer="zeros", name="seen")
        self.queue = self.add_weight(shape=(4, shape[-1]), trainable=False, initializer="zeros", name="queue")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.steps.assign_add(1)
            self.seen.assign(True)
            self.queue.assign(ops.concatenate([self.queue[1:], ops.stop_gradient(x)[:1]], 0))
        scale = 1.0 / (1.0 + ops.cast(self.steps, x.dtype))
        return x * scale + ops.mean(self.queue, 0)


WAYS: dict[str, Callable[[], Any]] = {
    "one layer twice": _shared,
    "one normalisation twice": _shared_norm,
    "siamese with a loss of one's own": _siamese,
    "a frozen model within": _nested,
    "frozen normalisations": _fine_tuned,
    "subclassed, dicts in and out": _subclassed,
    "train_step of one's own": lambda: (_OwnStep(), normal(4, 6), whole(CLASSES, 4), sparse()),
    "compute_loss of one's own": lambda: (_OwnLoss(), normal(4, 6), normal(4, CLASSES), None),
    "variational autoencoder": _vae,
    "transformer": _transformer,
    "state of several kinds": lambda: (
        chain((6,), L.Dense(8), _Stateful(), L.Dense(CLASSES)),
        normal(4, 6),
        whole(CLASSES, 4),
        sparse(),
    ),
    "module": lambda: (_Module(), normal(2, 8, 8, 2), whole(CLASSES, 2), sparse()),
    "module, compiled": lambda: (_Compiled(), normal(4, 6), whole(CLASSES, 4), sparse()),
    "compiled": _compiled_model,
    "compiled with jit_compile": lambda: _compiled_model(jit_compile=True),
    "compiled with auto_scale_loss": lambda: _compiled_model(auto_scale_loss=True),
    "compiled with weights of losses and samples": _weighted_outputs,
    "mixed precision": _mixed,
    "text": _text,
    "draws: uniform": _drawing(lambda x, s: keras.random.uniform(ops.shape(x), seed=s)),
    "draws: normal": _drawing(lambda x, s: keras.random.normal(ops.shape(x), seed=s)),
    "draws: truncated_normal": _drawing(lambda x, s: keras.random.truncated_normal(ops.shape(x), seed=s)),
    "draws: randint": _drawing(lambda x, s: keras.random.randint(ops.shape(x), 0, 3, seed=s)),
    "draws: categorical": _drawing(lambda x, s: keras.random.categorical(x, 8, seed=s)),
    "draws: shuffle": _drawing(lambda x, s: keras.random.shuffle(x, seed=s)),
    "draws: beta": _drawing(lambda x, s: keras.random.beta(ops.shape(x), 2.0, 3.0, seed=s)),
    "draws: binomial": _drawing(lambda x, s: keras.random.binomial(ops.shape(x), 4, 0.3, seed=s)),
    "draws: gamma": _drawing(lambda x, s: keras.random.gamma(ops.shape(x), 2.0, seed=s)),
    "draws: dropout": _drawing(lambda x, s: keras.random.dropout(x, 0.3, seed=s)),
    "draws: tf.random.normal": _drawing(lambda x, s: tf.random.normal(tf.shape(x))),
    "draws: tf.random.Generator": _drawing(lambda x, s: _GENERATOR.normal(tf.shape(x))),
    **{f"flow: {how}": _looped(how) for how in _LOOPS},
    **{f"operation: {name}": _operation(function) for name, function in _OPERATIONS.items()},
}
"""Name to maker."""

_GENERATOR = tf.random.Generator.from_seed(3)
