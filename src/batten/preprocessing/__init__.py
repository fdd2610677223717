"""Features on one scale, by scikit-learn's fit / transform / inverse_transform.

    MinMaxScaler         each feature from its least to its largest value onto an interval
    StandardScaler       each feature to mean 0 and variance 1
    PCAWhitening         principal components, each divided by its standard deviation
    ZCAWhitening         the same, rotated back, so that pictures stay pictures
    PerImageStandardize  each image by itself to mean 0 and variance 1

Gradient descent takes the more steps the worse the loss is conditioned.  For a linear layer and squared errors the
Hessian is that of the features' second moments, E[x xᵀ]: steps that are small enough for the direction in which x is
largest are far too small for the others.  With means of 0 and one scale its eigenvalues are more alike, and with
uncorrelated features all equal (LeCun, Bottou, Orr & Müller 1998, "Efficient BackProp").
"""

from .scaling import MinMaxScaler as MinMaxScaler
from .scaling import PerImageStandardize as PerImageStandardize
from .scaling import StandardScaler as StandardScaler
from .whitening import PCAWhitening as PCAWhitening
from .whitening import ZCAWhitening as ZCAWhitening
