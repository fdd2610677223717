"""What keeps a model from fitting its examples too well.

WeightNoise     noise on the weights in every forward
"""

from .weight_noise import WeightNoise as WeightNoise
