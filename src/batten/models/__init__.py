"""Models, ready to be trained."""

from .alexnet import alexnet as alexnet
from .convnet import convnet as convnet
from .lenet import lenet5 as lenet5
from .mlp import mlp as mlp
from .resnet import resnet as resnet
from .resnet import resnet20 as resnet20
from .resnet import resnet32 as resnet32
from .resnet import resnet56 as resnet56
from .vgg import vgg11 as vgg11
from .vgg import vgg13 as vgg13
from .vgg import vgg16 as vgg16
