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

INLINE real element(const void *x, size_t i, const int bytes)
{
    return bytes ? (real)((const uint8_t *)x)[i] : ((const real *)x)[i];
}

INLINE void put(void *y, size_t i, real value, const int bytes)
{
    if (bytes)
        ((uint8_t *)y)[i] = (uint8_t)(int32_t)value;
    else
        ((real *)y)[i] = value;
}

/* The level of a byte that a number is cut off to; 0 for NaN. */
INLINE real level_of(real x)
{
    return (real)(int32_t)(x > 0 ? x < 255 ? x : 255 : 0);
}

/* Cut off to what there is between black and white; a real NaN stays one. */
INLINE real kept(real x, const int bytes)
{
    return bytes ? level_of(x) : x < 0 ? 0 : x > 1 ? 1 : x;
}

#endif
