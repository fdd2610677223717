"""Deep learning on the CPU, for teaching the regularization of deep models."""

import typing as _typing

from . import autograd as autograd
from . import cuda as cuda
from . import data as data
from . import inspect as inspect
from . import metrics as metrics
from . import models as models
from . import nn as nn
from . import optim as optim
from . import preprocessing as preprocessing
from . import regularization as regularization
from . import threadpools as _threadpools
from . import transforms as transforms
from ._kernels import empty_cache as empty_cache
from ._kernels import get_num_threads as get_num_threads
from ._kernels import memory_stats as memory_stats
from ._kernels import set_num_threads as set_num_threads
from .autograd import enable_grad as enable_grad
from .autograd import is_grad_enabled as is_grad_enabled
from .autograd import no_grad as no_grad
from .autograd import set_grad_enabled as set_grad_enabled
from .callbacks import Callback as Callback
from .callbacks import Checkpoint as Checkpoint
from .callbacks import CSVLogger as CSVLogger
from .callbacks import EarlyStopping as EarlyStopping
from .callbacks import LRLogger as LRLogger
from .callbacks import TensorBoard as TensorBoard
from .creation import *
from .device import *
from .dtypes import *
from .fit import fit as fit
from .history import History as History
from .memory import *
from .operations import *
from .precision import *
from .prediction import *
from .random import *
from .serialization import CheckpointError as CheckpointError
from .serialization import load as load
from .serialization import save as save
from .tensor import *

inference_mode = no_grad

_threadpools.introduce()

if _typing.TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name):
        """The version is looked up when someone asks: that takes longer than importing much of the rest."""
        if name != "__version__":
            raise AttributeError(f"module 'batten' has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("batten")
        except PackageNotFoundError:
            return "0+unknown"
