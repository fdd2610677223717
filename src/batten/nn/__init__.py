"""Neural networks: modules, and the functions that they call."""

from . import functional as functional
from . import init as init
from .container import *
from .module import *
from .parameter import *
