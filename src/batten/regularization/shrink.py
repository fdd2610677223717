"""Weight decay as engineers see it: after each update, the weights are made a little smaller.

    θ = factor θ',   θ' = where the step of an optimizer leads

as in Hanson & Pratt, "Comparing Biases for Minimal Network Construction with Back-Propagation" (NIPS 1988), so that
weights relax towards nought unless they are reinforced.  With gradient descent θ becomes factor (θ - η g).  The
gradient of α/2 ‖θ‖² makes it (1 - η α) θ - η g instead: for factor = 1 - η α the same, but that the step is not shrunk.
"""

from __future__ import annotations

from .. import _kernels as kernels
from .after_step import AfterStep, Named, by_type, number
from .parameters import Where

__all__ = ["Shrink"]


class Shrink(AfterStep):
    """θ = factor θ after each step, of all parameters or those that `where` chooses.

    `attach(optimizer)`, or `optim.Projected(optimizer, Shrink(0.98))`, has it done after each step of any optimizer;
    `project(model)` does it once.  It is no projection, but is called like one.

    ValueError unless 0 <= factor <= 1.

    >>> import batten
    >>> w = batten.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = batten.optim.SGD([w], lr=0.5)
    >>> handle = Shrink(0.5).attach(optimizer)
    >>> w.grad = batten.tensor([0.0, -4.0])
    >>> optimizer.step()
    >>> w
    tensor([0.5000, 0.0000], requires_grad=True)
    """

    options = ("factor",)

    def __init__(self, factor: float, *, where: Where = None) -> None:
        super().__init__(where=where)
        self.factor = number(self, "factor", factor, most=1)

    def change(self, params: Named) -> None:
        for batch in by_type(params):
            kernels.scale_all(batch.arrays, self.factor)
            batch.put_back()
