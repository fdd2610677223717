"""Images made into others, under torchvision's names: to show a network more than there is.

Compose                             transforms one after the other
RandomHorizontalFlip                images turned round
RandomVerticalFlip
RandomCrop, CenterCrop, Pad         parts of images, and more around them
FiveCrop, TenCrop                   several parts of each, for a vote
Resize, RandomResizedCrop           images, and parts of them, of another size
RandomRotation, RandomAffine        images turned, moved, stretched and sheared
ColorJitter, PCAColor               other colours
GaussianNoise                       noise
RandomErasing                       images that a part is missing of
MixUp, CutMix                       two images in one, and labels in between
Normalize, ToDtype, ToFloat         values of another mean and deviation, or of another type
Transform                           the base class of one's own
functional                          what is done to colours, by given factors
"""

from . import functional as functional
from .affine import RandomAffine as RandomAffine
from .affine import RandomRotation as RandomRotation
from .base import Transform as Transform
from .colour import ColorJitter as ColorJitter
from .colour import GaussianNoise as GaussianNoise
from .colour import Normalize as Normalize
from .colour import PCAColor as PCAColor
from .colour import ToDtype as ToDtype
from .colour import ToFloat as ToFloat
from .compose import Compose as Compose
from .cropping import CenterCrop as CenterCrop
from .cropping import FiveCrop as FiveCrop
from .cropping import Pad as Pad
from .cropping import RandomCrop as RandomCrop
from .cropping import RandomHorizontalFlip as RandomHorizontalFlip
from .cropping import RandomVerticalFlip as RandomVerticalFlip
from .cropping import TenCrop as TenCrop
from .mixing import CutMix as CutMix
from .mixing import MixUp as MixUp
from .mixing import RandomErasing as RandomErasing
from .resizing import RandomResizedCrop as RandomResizedCrop
from .resizing import Resize as Resize
