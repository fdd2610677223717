"""Images made into others, under torchvision's names: to show a network more than there is.

Compose                             transforms one after the other
Transform                           the base class of one's own
ColorJitter, PCAColor               other colours
GaussianNoise                       noise
Normalize, ToDtype, ToFloat         values of another mean and deviation, or of another type
MixUp, CutMix                       two images in one, and labels in between
RandomErasing                       images that a part is missing of
functional                          what is done to colours, by given factors
"""

from . import functional as functional
from .base import Transform as Transform
from .colour import ColorJitter as ColorJitter
from .colour import GaussianNoise as GaussianNoise
from .colour import Normalize as Normalize
from .colour import PCAColor as PCAColor
from .colour import ToDtype as ToDtype
from .colour import ToFloat as ToFloat
from .compose import Compose as Compose
from .mixing import CutMix as CutMix
from .mixing import MixUp as MixUp
from .mixing import RandomErasing as RandomErasing
