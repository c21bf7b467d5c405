"""Batch normalisation as what it is at inference, so that it can be folded into other layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float32]


def array(tensor: Tensor) -> Floats:
    """A tensor's values, wherever it lies."""
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)


def affine(norm: nn.Module) -> tuple[Floats, Floats]:
    """What a batch normalisation does at inference: ``x * scale + shift``, per channel."""
    scale = array(norm.weight) / np.sqrt(array(norm.running_var) + norm.eps)
    return scale, array(norm.bias) - array(norm.running_mean) * scale
