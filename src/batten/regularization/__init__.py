"""What keeps a model from fitting its examples too well.

L1, L2, ElasticNet              penalties, which are added to a loss
GroupLasso, OrthogonalPenalty
Gaussian, Laplace, MAP          priors of the weights, and the most probable ones after the examples
constraints                     sets that parameters are kept in, by a projection after each step
Shrink                          weights made smaller after each step
WeightNoise                     noise on the weights in every forward
"""

from . import constraints as constraints
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
