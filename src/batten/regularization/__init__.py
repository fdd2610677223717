"""What keeps a model from fitting its examples too well.

L1, L2, ElasticNet              penalties, which are added to a loss
GroupLasso, OrthogonalPenalty
Gaussian, Laplace, MAP          priors of the weights, and the most probable ones after the examples
L2Ball, L1Ball, MaxNorm         constraints: sets that parameters are kept in, by a projection after each step
UnitNorm, Simplex
NonNegative, Box
Shrink                          weights made smaller after each step
WeightNoise                     noise on the weights in every forward
"""

from .constraints import Box as Box
from .constraints import L1Ball as L1Ball
from .constraints import L2Ball as L2Ball
from .constraints import MaxNorm as MaxNorm
from .constraints import NonNegative as NonNegative
from .constraints import Simplex as Simplex
from .constraints import UnitNorm as UnitNorm
from .penalties import L1 as L1
from .penalties import L2 as L2
from .penalties import ElasticNet as ElasticNet
from .penalties import GroupLasso as GroupLasso
from .penalties import OrthogonalPenalty as OrthogonalPenalty
from .priors import MAP as MAP
from .priors import Gaussian as Gaussian
from .priors import Laplace as Laplace
from .shrink import Shrink as Shrink
from .weight_noise import WeightNoise as WeightNoise
