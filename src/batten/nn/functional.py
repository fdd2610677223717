"""`nn.functional`: every function of the layers under one name.  They are written beside their layers."""

from .activation import *
from .dropout import *
from .linear import *
from .loss import *
from .normalization import *
