"""Data to learn from: pictures with labels in files of their own, and points that are made up.

images.py       ImageDataset, and scikit-learn's digits
mnist.py        MNIST, FashionMNIST, KMNIST
cifar.py        CIFAR10, CIFAR100
files.py        what reads their files, and trusts none of them
download.py     what fetches these files, if asked to
points.py       polynomial, two_moons, spirals

>>> from batten.datasets import digits
>>> data = digits()                                             # doctest: +SKIP
>>> data.data.shape, data.targets[:3]                           # doctest: +SKIP
((1797, 1, 8, 8), array([0, 1, 2]))
"""

from .cifar import CIFAR10 as CIFAR10
from .cifar import CIFAR100 as CIFAR100
from .images import ImageDataset as ImageDataset
from .images import digits as digits
from .mnist import KMNIST as KMNIST
from .mnist import MNIST as MNIST
from .mnist import FashionMNIST as FashionMNIST
from .points import polynomial as polynomial
from .points import spirals as spirals
from .points import two_moons as two_moons
