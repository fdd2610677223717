"""Predictions that say how sure they are: Monte-Carlo averages over what a model's layers draw at random.

Dropout trains 2ⁿ networks with shared weights.  At test time they are averaged approximately, by scaling the weights,
or by sampling some of them (Srivastava et al. 2014, "Dropout", section 7.5).  Gal & Ghahramani 2016 ("Dropout
as a Bayesian Approximation") read the samples as drawn from an approximate posterior over the weights: their mean is
the prediction, and how they differ is how unsure the model is,

    mean  = 1/S Σ y_s,     variance = 1/S Σ (y_s - mean)²,     s = 1, ..., S

For a classifier with probabilities p_s, of mean p̄, the entropy H(p̄) is the uncertainty in all, which is that of the
data, mean H(p_s), and that of the model, the mutual information H(p̄) - mean H(p_s) of label and weights.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from . import nn
from .autograd import no_grad, wrap
from .nn.functional import softmax
from .nn.stochastic import STOCHASTIC
from .nn.unchanged import unchanged
from .operations.promotion import Operand, as_operand
from .tensor import Tensor

__all__ = ["Prediction", "predict"]


class Prediction(NamedTuple):
    """Mean and variance of each result, and for a classifier each example's uncertainty in nats."""

    mean: Tensor
    variance: Tensor
    entropy: Tensor | None = None
    mutual_information: Tensor | None = None


def predict(
    model: nn.Module, x: Operand, samples: int = 50, batch_size: int = 128, classifier: bool = False
) -> Prediction:
    """What a model makes of x (N, *) on average over `samples` draws of its dropout, DropConnect and noise.

        mean, variance          of the model's result, (N, *), each a mean over the samples
        entropy                 -Σ_c p̄_c log p̄_c, p̄ the mean probabilities        None unless `classifier`
        mutual_information      the entropy of the mean minus the mean entropy      None unless `classifier`

    With `classifier` the result is scores (N, classes, *), as `cross_entropy` takes them; mean and variance are then
    those of their softmax, and entropies are (N, *).

    Only layers that drop or add noise are as in training, and are so whatever mode the model is in; the rest is in
    evaluation, batch normalization too.  x goes through in batches, each as often as there are samples, without a
    graph.  Afterwards the model, its modes, buffers and gradients are as they were, and so are the random numbers, the
    layers' own generators too: the same call gives the same again, and training goes on as if there had been none.
    Sums are in float64.

    ValueError unless samples and batch_size are at least 1, and if results are not one for each example; TypeError
    if they are not one tensor of floats.

    >>> import batten
    >>> from batten import nn
    >>> model = nn.Sequential(nn.Linear(4, 100), nn.ReLU(), nn.Dropout(0.5), nn.Linear(100, 3))
    >>> found = batten.predict(model, batten.randn(10, 4), samples=20, classifier=True)
    >>> found.mean.shape, found.entropy.shape
    ((10, 3), (10,))
    >>> (found.mutual_information < found.entropy).all().item()
    True
    """
    inputs = as_operand(x).detach()
    samples, batch_size = at_least_one("samples", samples), at_least_one("batch_size", batch_size)
    if not inputs.ndim:
        raise ValueError("predict expects (N, *), got a number")
    with unchanged(model), no_grad():
        model.eval()
        for module in model.modules():
            if isinstance(module, STOCHASTIC):
                module.training = True
        batches = [
            of_batch(model, inputs[first : first + batch_size], samples, classifier)
            for first in range(0, max(len(inputs), 1), batch_size)
        ]
    parts: list[Any] = [None if part[0] is None else wrap(np.concatenate(part)) for part in zip(*batches, strict=True)]
    return Prediction(*parts)


def of_batch(model: nn.Module, x: Tensor, samples: int, classifier: bool) -> tuple[np.ndarray | None, ...]:
    """Mean, variance, entropy and mutual information of one batch."""
    mean: Any = 0.0
    squares: Any = 0.0
    entropies: Any = 0.0
    for number in range(1, samples + 1):
        y = result_of(model, x)
        values = y.double()
        if classifier:
            values = probabilities(values)
            entropies += entropy(values.array)
        before = values.array - mean
        mean = mean + before / number
        squares += before * (values.array - mean)  # of differences from the mean, which do not cancel
    found = [mean, squares / samples, None, None]
    if classifier:
        found[2:] = entropy(mean), np.maximum(entropy(mean) - entropies / samples, 0)
    return tuple([None if part is None else part.astype(y.dtype) for part in found])


def result_of(model: nn.Module, x: Tensor) -> Tensor:
    y = model(x)
    if not isinstance(y, Tensor) or y.dtype.kind != "f":
        raise TypeError(
            f"predict expects a model that returns one tensor of floats, got {getattr(y, 'dtype', type(y))}"
        )
    if y.shape[:1] != x.shape[:1]:
        raise ValueError(f"predict expects a result for each of {len(x)} examples, got {list(y.shape)}")
    return y


def probabilities(scores: Tensor) -> Tensor:
    if scores.ndim < 2:
        raise ValueError(f"predict expects scores (N, classes, *) of a classifier, got {list(scores.shape)}")
    return softmax(scores, 1)


def entropy(p: np.ndarray) -> np.ndarray:
    """-Σ p log p along axis 1, in which what has no probability counts for nothing."""
    return 0 - (p * np.log(np.where(p > 0, p, 1))).sum(1)  # no -0


def at_least_one(name: str, value: int) -> int:
    if operator.index(value) < 1:
        raise ValueError(f"predict expects {name} >= 1, got {value}")
    return operator.index(value)
