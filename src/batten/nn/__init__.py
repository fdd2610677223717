"""Neural networks: modules, and the functions that they call."""

from . import functional as functional
from . import init as init
from . import utils as utils
from .activation import *
from .batch_norm import *
from .container import *
from .convolution import *
from .distance import *
from .drop_connect import *
from .dropout import *
from .embedding import *
from .group_norm import *
from .instance_norm import *
from .layer_norm import *
from .linear import *
from .loss import *
from .lp_batch_norm import *
from .module import *
from .noise import *
from .noisy_batch_norm import *
from .padding import *
from .parameter import *
from .pooling import *
from .recurrent_batch_norm import *
from .response_norm import *
from .shuffle import *
from .summaries import *
from .upsampling import *
