"""Functions of tensors.  Each is `batten.NAME` and a method of Tensor."""

from .arithmetic import *
from .comparison import *
from .einsum import *
from .elementwise import *
from .indexing import *
from .linalg import *
from .promotion import *
from .reduction import *
from .shape import *
from .softmax import *
