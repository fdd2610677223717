/* Images made of two.
 *
 * A batch of images is mixed with itself, turned on by one: image i with image i - 1, and the first with the last.
 * As in colour.c, nothing is fused here that would make a result depend on the processor. */
#include "kernel.h"
#include <string.h>

/* y[i] = weight x[i] + (1 - weight) x[i - 1] (images, size); y apart from x. */
void KERNEL(mix)(real *y, const real *x, size_t images, size_t size, double weight)
{
    const real own = (real)weight, other = (real)(1 - weight);
    const size_t blocks = blocks_of(size, BLOCK);
    PARALLEL(2 * images * size, for (size_t i = 0; i < images * blocks; i++) {
        const size_t image = i / blocks, begin = i % blocks * BLOCK, n = smaller(BLOCK, size - begin);
        const real *const x1 = x + image * size + begin;
        const real *const x0 = x + (image ? image - 1 : images - 1) * size + begin;
        real *const to = y + image * size + begin;
        PRAGMA(omp simd)
        for (size_t j = 0; j < n; j++)
            to[j] = x0[j] * other + x1[j] * own;
    });
}

/* y[i] = v[i - turn] within image i's box, x[i] around it.  y and x are images of rows of so many bytes, with as many
 * bytes a pixel; a box is the first row and column in it and the first that are not.  v lies as x does, or where a step
 * is nought has one image for all, one row for all.  y may be x, and is then written within the boxes only. */
void KERNEL(paste)(uint8_t *y, const uint8_t *x, const uint8_t *v, const int64_t *boxes, size_t images, size_t rows,
                   size_t row, size_t pixel, size_t turn, size_t v_image, size_t v_row)
{
    PARALLEL(images * rows * row / sizeof(real), for (size_t i = 0; i < images * rows; i++) {
        const size_t image = i / rows, r = i % rows, from = (image + images - turn) % images;
        const int64_t *const box = boxes + 4 * image;
        const int within = (int64_t)r >= box[0] && (int64_t)r < box[2];
        const size_t left = within ? (size_t)box[1] * pixel : row, right = within ? (size_t)box[3] * pixel : row;
        uint8_t *const to = y + i * row;
        if (y != x)
            memcpy(to, x + i * row, left);
        memcpy(to + left, v + from * v_image + r * v_row + left, right - left);
        if (y != x)
            memcpy(to + right, x + i * row + right, row - right);
    });
}
