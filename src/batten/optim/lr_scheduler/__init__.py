"""Learning rates that change in the course of training, under PyTorch's names.

scheduler.py    what all schedules have in common, and those that multiply by a factor
factors.py      LambdaLR, MultiplicativeLR, StepLR, MultiStepLR, ConstantLR, LinearLR, ExponentialLR, PolynomialLR
cosine.py       CosineAnnealingLR, CosineAnnealingWarmRestarts
cycles.py       CyclicLR, OneCycleLR: momentum goes against the learning rate
plateau.py      ReduceLROnPlateau
combined.py     SequentialLR, ChainedScheduler
averaging.py    SWALR, whose home is optim.swa_utils
"""

from .combined import ChainedScheduler as ChainedScheduler
from .combined import SequentialLR as SequentialLR
from .cosine import CosineAnnealingLR as CosineAnnealingLR
from .cosine import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from .cycles import CyclicLR as CyclicLR
from .cycles import OneCycleLR as OneCycleLR
from .factors import ConstantLR as ConstantLR
from .factors import ExponentialLR as ExponentialLR
from .factors import LambdaLR as LambdaLR
from .factors import LinearLR as LinearLR
from .factors import MultiplicativeLR as MultiplicativeLR
from .factors import MultiStepLR as MultiStepLR
from .factors import PolynomialLR as PolynomialLR
from .factors import StepLR as StepLR
from .plateau import ReduceLROnPlateau as ReduceLROnPlateau
from .scheduler import LRScheduler as LRScheduler
