/* Images of bytes or of real.
 *
 * An image has bytes from 0 to 255, or `real` from 0 to 1; the channels of a pixel lie side by side.  A kernel that
 * takes both is told which by `bytes`, and its body is compiled for either: with `bytes` a constant, there is nothing
 * left of the choice.  Arithmetic is in `real` for both. */
#ifndef BATTEN_IMAGE_H
#define BATTEN_IMAGE_H

#include "kernel.h"

#define INLINE static inline __attribute__((always_inline))

/* Calls body(..., bytes), an INLINE function, with `bytes` a constant. */
#define OF_BYTES_OR_REAL(body, ...) (bytes ? body(__VA_ARGS__, 1) : body(__VA_ARGS__, 0))

/* Calls body(..., pixel), an INLINE function, with the bytes of a pixel a constant where they are common ones. */
#define OF_PIXELS(pixel, body, ...)   \
    do {                              \
        switch (pixel) {              \
        case 1:                       \
            body(__VA_ARGS__, 1);     \
            break;                    \
        case 3:                       \
            body(__VA_ARGS__, 3);     \
            break;                    \
        case 4:                       \
            body(__VA_ARGS__, 4);     \
            break;                    \
        case 12:                      \
            body(__VA_ARGS__, 12);    \
            break;                    \
        default:                      \
            body(__VA_ARGS__, pixel); \
        }                             \
    } while (0)

INLINE real element(const void *x, size_t i, const int bytes)
{
    return bytes ? (real)((const uint8_t *)x)[i] : ((const real *)x)[i];
}

/* Of bytes, a value loses its fraction. */
INLINE void put(void *y, size_t i, real value, const int bytes)
{
    if (bytes)
        ((uint8_t *)y)[i] = (uint8_t)(int32_t)value;
    else
        ((real *)y)[i] = value;
}

/* The nearest value from black to white.  NaN stays what it is, but of bytes, which have none, it is black. */
INLINE real kept(real x, const int bytes)
{
    const real white = bytes ? 255 : 1;
    if (bytes)
        x = x > 0 ? x : 0;
    else
        x = x < 0 ? 0 : x;
    return x > white ? white : x;
}

/* y[i] = (x[i] - shift[j]) scale[j], j = i mod period; of bytes, (x[i] / 255 - shift[j]) scale[j]. */
INLINE void standardize(real *y, const void *x, const real *shift, const real *scale, size_t first, size_t n,
                        const int bytes)
{
    const real unit = bytes ? (real)(1 / 255.) : 1;
    PRAGMA(omp simd)
    for (size_t j = 0; j < n; j++)
        y[first + j] = (element(x, first + j, bytes) * unit - shift[j]) * scale[j];
}

#endif
