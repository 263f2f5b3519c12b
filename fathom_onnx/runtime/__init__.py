"""Running graphs under onnxruntime: providers, weights, sessions, profiles, training. Nothing here interprets a run."""
