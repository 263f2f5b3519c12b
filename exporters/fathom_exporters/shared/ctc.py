"""Connectionist temporal classification as both frameworks write it: a forward recursion in plain operations.

The frameworks' own operations do not export: PyTorch's has no static shapes, TensorFlow's is a loop that does not
unroll. Given are scores [T, N, C], the blank last; the frames of each utterance [N], at least 1; its labels [N, L]
without blanks, arbitrary past the end; and the number of its labels [N], 0 or more and no more than its frames can
carry. The result is ``-log p(labels)`` of each utterance, [N]; more labels than the frames can carry give a loss of
the size of :data:`NEVER`.

The recursion is that of Graves et al. 2006 (section 4.1) in the log domain; its gradient is the framework's autodiff.
An impossible transition costs NEVER, a large finite number: with infinity the gradient would be infinity minus itself.

The path, the labels with blanks around them, has S = 2 L + 1 states. In one frame a state is entered from three states:
itself, the one before, and the one before that if both are different labels. Everything that does not depend on the
recursion is computed for all frames at once. A frame is one product with a constant matrix of zeros and ones, which
brings the three predecessors of every state side by side (and whose gradient takes them back), an addition and a
reduction. After an utterance's last frame the states keep their values.

Every :data:`RESCALE_EVERY` frames the largest state is subtracted from all, and the total added back to the result:
float32 rounds a log probability of several hundred by 3e-5, which would be a relative error of that size in the
probability in every frame.
"""

from __future__ import annotations

__all__ = ["NEVER", "RESCALE_EVERY"]

NEVER = -1e30
"""Log probability of what cannot happen."""

RESCALE_EVERY = 8
"""Frames from one rescaling of the states to the next."""
