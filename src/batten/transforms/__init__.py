"""Images made into others, under torchvision's names: to show a network more than there is.

Compose                             transforms one after the other
RandomHorizontalFlip                images turned round
RandomVerticalFlip
RandomCrop, CenterCrop, Pad         parts of images, and more around them
FiveCrop, TenCrop                   several parts of each, for a vote
Resize, RandomResizedCrop           images, and parts of them, of another size
RandomRotation, RandomAffine        images turned, moved, stretched and sheared
Transform                           the base class of one's own
"""

from .affine import RandomAffine as RandomAffine
from .affine import RandomRotation as RandomRotation
from .base import Transform as Transform
from .compose import Compose as Compose
from .cropping import CenterCrop as CenterCrop
from .cropping import FiveCrop as FiveCrop
from .cropping import Pad as Pad
from .cropping import RandomCrop as RandomCrop
from .cropping import RandomHorizontalFlip as RandomHorizontalFlip
from .cropping import RandomVerticalFlip as RandomVerticalFlip
from .cropping import TenCrop as TenCrop
from .resizing import RandomResizedCrop as RandomResizedCrop
from .resizing import Resize as Resize
