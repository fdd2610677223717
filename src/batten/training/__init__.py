"""The main job: a model learns to tell pictures apart, and what it has learned is kept.

settings.py      all that a result depends on, and what suits each data set and model
pieces.py        what the names in there stand for: optimizers, schedules, penalties, augmentations
pictures.py      the data sets, each in three parts
classifier.py    a model with all that it takes to use it
job.py           the pieces of a run, which `fit` puts together

The pictures come in three parts.  The model learns from the first; the second, for validation, chooses the epoch whose
weights are kept; the third, for the test, is looked at once, with these weights, when everything has been chosen.

A run is a function of its settings: the same seed gives the same bits, on any number of threads, and with any breaks.
"""

from .classifier import Classifier as Classifier
from .classifier import Score as Score
from .job import Training as Training
from .job import lengthened as lengthened
from .pictures import DATASETS as DATASETS
from .pictures import SIZES as SIZES
from .pictures import Parts as Parts
from .pictures import read as read
from .pieces import AUGMENTATIONS as AUGMENTATIONS
from .pieces import OPTIMIZERS as OPTIMIZERS
from .pieces import PENALTIES as PENALTIES
from .pieces import SCHEDULES as SCHEDULES
from .settings import RECIPES as RECIPES
from .settings import Settings as Settings
from .settings import arguments_of as arguments_of
from .settings import settled as settled
