"""Recipes of tiny models with random weights: what "any model's training step" is measured on.

Four zoos, each a module with ``build(name=..., optimizer=..., attention=..., dropout=...)``:

- :mod:`.first`: the models that the exporter was developed with;
- :mod:`.further`: models that are in no way tuned to, as a test of the rest;
- :mod:`.keras_models`: Keras models and a ``tf.Module``;
- :mod:`.jax_models`: functions of JAX with optax.

Nothing is downloaded. A recipe can be taken by its path::

    python -m fathom_onnx verify benchmarks/models/further.py:build --set name=vae
"""
