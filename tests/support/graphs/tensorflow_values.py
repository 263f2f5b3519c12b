"""Values for the inputs of a tiny workload."""

from __future__ import annotations

import numpy as np

from fathom_onnx.workloads import workload


def values_of(name, mode, seed=0):
    """Every input of a tiny workload, away from its starting values so that nothing is trivially zero or one."""
    w = workload(name, "tiny")
    rng = np.random.default_rng(seed)
    values = {s.name: s.draw.sample(s.shape, s.dtype, rng) for s in w.interface(mode, "input").inputs}
    values |= w.initial_values(mode, seed)
    for key, value in values.items():
        if key.endswith((".bias", ".running_mean")):
            values[key] = rng.normal(0, 0.1, value.shape).astype("float32")
        elif key.endswith(".adam_m"):
            values[key] = rng.normal(0, 1e-2, value.shape).astype("float32")
        elif key.endswith(".adam_v"):
            values[key] = rng.uniform(1e-4, 1e-3, value.shape).astype("float32")
        elif key.endswith(".running_var"):
            values[key] = rng.uniform(0.5, 2, value.shape).astype("float32")
    if mode == "training":
        values["adam.step"] = np.array(3, "float32")
    return w, values
