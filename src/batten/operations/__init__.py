"""Functions of tensors.  Each is `batten.NAME` and a method of Tensor."""

from . import arithmetic, comparison, elementwise, indexing, linalg, promotion, reduction, shape
from . import einsum as products
from . import softmax as exponentials
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

# The functions and not their files, some of which have names that are wanted otherwise.
__all__: list[str] = []
__all__ += arithmetic.__all__
__all__ += comparison.__all__
__all__ += elementwise.__all__
__all__ += exponentials.__all__
__all__ += indexing.__all__
__all__ += linalg.__all__
__all__ += products.__all__
__all__ += promotion.__all__
__all__ += reduction.__all__
__all__ += shape.__all__
