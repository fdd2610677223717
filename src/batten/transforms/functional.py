"""`transforms.functional`: what transforms do, by given factors.  The functions are written beside the transforms."""

from .colour import adjust_brightness as adjust_brightness
from .colour import adjust_contrast as adjust_contrast
from .colour import adjust_hue as adjust_hue
from .colour import adjust_saturation as adjust_saturation
