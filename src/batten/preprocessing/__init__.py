"""Features on one scale, by scikit-learn's fit / transform / inverse_transform.

    MinMaxScaler         each feature from its least to its largest value onto an interval
    StandardScaler       each feature to mean 0 and variance 1
    PCAWhitening         principal components, each divided by its standard deviation
    ZCAWhitening         the same, rotated back, so that pictures stay pictures
    PerImageStandardize  each image by itself to mean 0 and variance 1

Gradient descent takes the more steps the worse the loss is conditioned.  For a linear layer and squared errors the
Hessian is the second moments of the features, so that steps which are small enough for the feature that varies most are
far too small for the others.  Features of mean 0 and one scale, and uncorrelated ones all the more, make its eigenvalues
alike (LeCun, Bottou, Orr & Müller 1998, "Efficient BackProp").
"""

from .scaling import MinMaxScaler as MinMaxScaler
from .scaling import PerImageStandardize as PerImageStandardize
from .scaling import StandardScaler as StandardScaler
from .whitening import PCAWhitening as PCAWhitening
from .whitening import ZCAWhitening as ZCAWhitening
