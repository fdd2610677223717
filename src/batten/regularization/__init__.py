"""What keeps a model from fitting its examples too well.

constraints     sets that parameters are kept in, by a projection after each step
Shrink          weights made smaller after each step
WeightNoise     noise on the weights in every forward
"""

from . import constraints as constraints
from .shrink import Shrink as Shrink
from .weight_noise import WeightNoise as WeightNoise
