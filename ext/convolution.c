/* Convolution: each pass by the algorithm that its plan names (convolution_plan.c). */
#include "convolution.h"

void KERNEL(conv)(real *y, const real *x, const real *w, const real *bias, real *scratch, const batten_convolution *p)
{
    switch (p->algorithm) {
    case BATTEN_DIRECT:
        KERNEL(direct)(y, x, w, bias, scratch, p);
        break;
    case BATTEN_DEPTHWISE:
        KERNEL(depthwise)(y, x, w, bias, scratch, p);
        break;
#ifdef WINOGRAD /* only in float */
    case BATTEN_WINOGRAD:
        KERNEL(winograd)(y, x, w, bias, scratch, p);
        break;
#endif
    default:
        break;
    }
}

void KERNEL(conv_backward_data)(real *dx, const real *dy, const real *w, const real *bias, real *scratch,
                                const batten_convolution *p)
{
    switch (p->algorithm) {
    case BATTEN_DIRECT:
        KERNEL(direct_backward_data)(dx, dy, w, bias, scratch, p);
        break;
    case BATTEN_SCATTER:
        KERNEL(scatter)(dx, dy, w, bias, scratch, p);
        break;
    case BATTEN_DEPTHWISE:
        KERNEL(depthwise_backward_data)(dx, dy, w, bias, scratch, p);
        break;
#ifdef WINOGRAD /* only in float */
    case BATTEN_WINOGRAD:
        KERNEL(winograd_backward_data)(dx, dy, w, bias, scratch, p);
        break;
#endif
    default:
        break;
    }
}

void KERNEL(conv_backward_weights)(real *dw, const real *dy, const real *x, real *scratch, const batten_convolution *p)
{
    switch (p->algorithm) {
    case BATTEN_DIRECT:
        KERNEL(direct_backward_weights)(dw, dy, x, scratch, p);
        break;
    case BATTEN_DEPTHWISE:
        KERNEL(depthwise_backward_weights)(dw, dy, x, scratch, p);
        break;
#ifdef WINOGRAD /* only in float */
    case BATTEN_WINOGRAD:
        KERNEL(winograd_backward_weights)(dw, dy, x, scratch, p);
        break;
#endif
    default:
        break;
    }
}
