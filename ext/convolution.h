/* What the algorithms of convolution share: which pixels meet which, along one axis.
 *
 * Both passes by data, forward and backward, compute each target pixel from source
 * pixels that taps lead to.  Along an axis, target j of a part of the targets is pixel
 *
 *     origin + j every,   and its tap t is source pixel   first + j step + t reach,
 *
 * which is tap  tap + t tap_step  of the weights.  A part has taps of its own:
 *
 *   forward    there is one part, or one for each set of taps that meet the image, where
 *              so many taps meet padding that leaving them out pays;
 *   backward   with stride s, every s-th pixel of x met the same taps, so there are s
 *              parts; each is a convolution of stride one with some of the taps.
 *
 * Taps are in the order in which their pixels lie in memory. */
#ifndef BATTEN_CONVOLUTION_H
#define BATTEN_CONVOLUTION_H

#include "kernel.h"

struct axis {
    size_t count, taps;           /* of targets, and of the taps of each */
    size_t origin, every, target; /* target: pixels of the whole axis */
    ptrdiff_t first, step, reach;
    size_t source; /* its pixels */
    ptrdiff_t tap, tap_step;
};

/* The algorithms: each is a kernel of kernels.def for the shapes that the plan gives it. */
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
