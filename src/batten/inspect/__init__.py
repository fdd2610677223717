"""What to look at a network with.

    CovariateShift         what a step of the optimizer does to what each layer sees: its inputs, and its gradient
    activation_statistics  mean, variance, noughts, saturated and dead units of each result, and its gradient
    scale_invariance       how far a normalized layer is from not minding the scale of its weights
    thinned_average        the exact average over all masks of dropout, beside what weight scaling has for it
    symmetric_units        units that compute the same, and those whose gradients are the same as well

Nobody can tell that a network was looked at: its parameters, gradients, buffers, modes and the state of the random
numbers are, bit by bit, what they were.
"""

from .activation import ActivationStatistics as ActivationStatistics
from .activation import activation_statistics as activation_statistics
from .covariate import CovariateShift as CovariateShift
from .covariate import LayerShift as LayerShift
from .invariance import ScaleInvariance as ScaleInvariance
from .invariance import scale_invariance as scale_invariance
from .symmetry import Symmetry as Symmetry
from .symmetry import symmetric_units as symmetric_units
from .thinning import ThinnedAverage as ThinnedAverage
from .thinning import thinned_average as thinned_average
