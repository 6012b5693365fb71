"""Relevance of linear classifiers in closed form: each point's own term of the score.

For a linear model the 0-rule hands every input its term ``w_ci x_i``, and the bias keeps itself (Bach et al.
2015; used so on support vector machines by Aeles et al. 2021, J R Soc Interface 18:20200770).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from talaria_bridge.errors import ConfigError
from talaria_training.relevance.lrp import Start

Floats = NDArray[np.float64]


def linear_relevance(
    weight: Floats, x: NDArray[np.floating], target: NDArray[np.intp], start: Start = "score"
) -> Floats:
    """Split a linear model's scores into the terms of its inputs.

    Parameters
    ----------
    weight : ndarray, shape (classes, channels * points)
        Of the points in the order of `x` flattened.
    x : ndarray, shape (N, channels, points)
        As the model gets them, so standardised.
    target : ndarray of int, shape (N,)
    start : "score" or "margin"
        Of the class's own score, or of that less the mean of the others': which stays the same when one
        and the same pattern is added to every class's weights, as softmax allows.

    Returns
    -------
    ndarray, shape (N, channels, points)
        With the target's bias (or its margin) added, each stride's sum is its score (or margin).

    Raises
    ------
    ConfigError
        If the weights do not fit the strides.
    """
    if weight.ndim != 2 or weight.shape[1] != x[0].size:
        raise ConfigError(
            f"The weights are {weight.shape} and the strides {x.shape[1:]}: give one weight per class and "
            "point of a stride."
        )
    return explained_weights(weight, start)[target].reshape(x.shape) * x


def explained_weights(weight: Floats, start: Start) -> Floats:
    """Weights (classes, ...) of what is explained: the score's own, or those of the margin."""
    if start == "score":
        return weight
    classes = len(weight)
    margin: Floats = (weight * classes - weight.sum(axis=0)) / (classes - 1)
    return margin
