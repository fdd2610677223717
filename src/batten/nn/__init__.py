"""Neural networks: modules, and the functions that they call."""

from .container import *
from .module import *
from .parameter import *
