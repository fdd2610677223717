"""Optimizers, under PyTorch's names: what turns gradients into steps of parameters."""

from . import lr_scheduler as lr_scheduler
from . import swa_utils as swa_utils
from .adadelta import Adadelta as Adadelta
from .adagrad import Adagrad as Adagrad
from .adam import Adam as Adam
from .adam import AdamW as AdamW
from .adamax import Adamax as Adamax
from .lbfgs import LBFGS as LBFGS
from .nadam import NAdam as NAdam
from .nesterov import Nesterov as Nesterov
from .optimizer import Optimizer as Optimizer
from .projected import Projected as Projected
from .radam import RAdam as RAdam
from .rmsprop import RMSprop as RMSprop
from .sgd import SGD as SGD
