"""Images made into others, under torchvision's names: to show a network more than there is.

Compose                             transforms one after the other
Transform                           the base class of one's own
"""

from .base import Transform as Transform
from .compose import Compose as Compose
