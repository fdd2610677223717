"""`transforms.functional`: what transforms do, with given factors.  These functions are written beside their transforms."""

from .colour import adjust_brightness as adjust_brightness
from .colour import adjust_contrast as adjust_contrast
from .colour import adjust_hue as adjust_hue
from .colour import adjust_saturation as adjust_saturation
