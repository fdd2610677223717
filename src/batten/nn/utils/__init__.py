"""What is done to layers and models from outside, under PyTorch's names."""

from . import fusion as fusion
from .fusion import fuse_bn as fuse_bn
from .fusion import fuse_conv_bn_eval as fuse_conv_bn_eval
from .fusion import fuse_conv_bn_weights as fuse_conv_bn_weights
from .fusion import fuse_linear_bn_eval as fuse_linear_bn_eval
from .fusion import fuse_linear_bn_weights as fuse_linear_bn_weights
