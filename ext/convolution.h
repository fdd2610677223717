/* The algorithms of convolution: each is a kernel for the shapes that the plan gives it. */
#ifndef BATTEN_CONVOLUTION_H
#define BATTEN_CONVOLUTION_H

#include "kernel.h"

#define CONVOLUTION_BY(algorithm)                                                                                    \
    void KERNEL(algorithm)(real *y, const real *x, const real *w, const real *bias, real *scratch,                   \
                           const batten_convolution *p);                                                             \
    void KERNEL(algorithm##_backward_data)(real *dx, const real *dy, const real *w, const real *bias, real *scratch, \
                                           const batten_convolution *p);                                             \
    void KERNEL(algorithm##_backward_weights)(real *dw, const real *dy, const real *x, real *scratch,                \
                                              const batten_convolution *p);
CONVOLUTION_BY(direct)
CONVOLUTION_BY(depthwise)
CONVOLUTION_BY(winograd)

#endif
