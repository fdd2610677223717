/* Dropout (Srivastava et al. 2014), with a mask of one bit an element (mask.h).
 *
 *     y[i] = x[i] m[i],    m[i] = 0 with probability p, else scale
 *     dx[i] = dy[i] m[i]
 *
 * where scale is 1 / (1 - p) as a rule.  It is a product as in PyTorch, not a
 * choice: NaN and infinity in a dropped x give NaN, so that a broken network shows
 * at once and not in some steps only.
 *
 * Threads take whole blocks of elements, of two units, and so never share a byte of the mask. */
#include "mask.h"
#include "stream.h"

/* Vector operations that an element costs, about: forward with most p, and backward. */
enum { COST = 4, COST_BACKWARD = 2 };

/* Where a block ends in an array of n elements. */
static inline size_t end_of(size_t block, size_t n)
{
    return smaller(block * BLOCK + BLOCK, n);
}

static void draw(uint8_t *mask, size_t block, size_t n, struct chance chance, uint64_t key, uint64_t call)
{
    uint64_t kept[NUMBERS];
    for (size_t i = block * BLOCK, end = end_of(block, n); i < end; i += PIECE) {
        if (i % UNIT == 0)
            draw_unit(kept, chance, i / UNIT, key, call);
        store_bits(mask + i / 8, kept[i % UNIT / PIECE], smaller(PIECE, end - i));
    }
}

/* mask[(n + 7) / 8] */
void KERNEL(dropout_mask)(uint8_t *mask, size_t n, double p, uint64_t key, uint64_t call)
{
    const struct chance chance = chance_of(p);
    PARALLEL(COST_BACKWARD * n, for (size_t block = 0; block < blocks_of(n, BLOCK); block++)
        draw(mask, block, n, chance, key, call););
}

/* past: y is stored past the caches. */
static inline void put(real *y, vec value, int past)
{
    if (past)
        stream(y, value);
    else
        *(unaligned *)y = value;
}

/* y = x times scale or nought, by the bits of n <= PIECE elements. */
static inline void thin_piece(real *y, const real *x, uint64_t bits, size_t n, real scale, int past)
{
    if (n == PIECE) {
        PRAGMA(GCC unroll 32)
        for (size_t i = 0; i < PIECE; i += VLEN)
            put(y + i, *(const unaligned *)(x + i) * those(scale - (vec){0}, bits >> i), past);
    } else {
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] * (bits >> i & 1 ? scale : 0);
    }
}

static void thin(real *y, const real *x, const uint8_t *mask, size_t block, size_t n, real scale, int past)
{
    for (size_t i = block * BLOCK, end = end_of(block, n); i < end; i += PIECE) {
        const size_t some = smaller(PIECE, end - i);
        thin_piece(y + i, x + i, load_bits(mask + i / 8, some), some, scale, past);
    }
    if (past)
        stream_end();
}

/* y[n], mask[(n + 7) / 8] from x[n].  y may be x. */
void KERNEL(dropout)(real *y, uint8_t *mask, const real *x, size_t n, double p, double scale, uint64_t key,
                     uint64_t call)
{
    const struct chance chance = chance_of(p);
    const int past = y != x && streams(y, n);
    PARALLEL(COST * n, for (size_t block = 0; block < blocks_of(n, BLOCK); block++) {
        draw(mask, block, n, chance, key, call);
        thin(y, x, mask, block, n, (real)scale, past);
    });
}

/* dx = dy m.  Forward was y = x m with the bits of m in mask, which is all that is kept.  dx may be dy. */
void KERNEL(dropout_backward)(real *dx, const real *dy, const uint8_t *mask, size_t n, double scale)
{
    const int past = dx != dy && streams(dx, n);
    PARALLEL(COST_BACKWARD * n, for (size_t block = 0; block < blocks_of(n, BLOCK); block++)
        thin(dx, dy, mask, block, n, (real)scale, past););
}

/* ---- behind a relu ---- */

/* y = relu(x) times scale or nought; returns a bit for each element that relu let through. */
static inline uint64_t relu_piece(real *y, const real *x, uint64_t bits, size_t n, real scale, int past)
{
    uint64_t passed = 0;
    if (n == PIECE) {
        PRAGMA(GCC unroll 32)
        for (size_t i = 0; i < PIECE; i += VLEN) {
            const vec value = *(const unaligned *)(x + i);
            const vec bent = (vec)((truths)value & ~(truths)(value < (vec){0}));
            passed |= bits_of(~(truths)(value <= (vec){0})) << i;
            put(y + i, bent * those(scale - (vec){0}, bits >> i), past);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            const real value = x[i];
            passed |= (uint64_t)!(value <= 0) << i;
            y[i] = (value < 0 ? 0 : value) * (bits >> i & 1 ? scale : 0);
        }
    }
    return passed;
}

static void relu_thin(real *y, uint8_t *passed, const real *x, const uint8_t *mask, size_t block, size_t n, real scale,
                      int past)
{
    for (size_t i = block * BLOCK, end = end_of(block, n); i < end; i += PIECE) {
        const size_t some = smaller(PIECE, end - i);
        const uint64_t bits = load_bits(mask + i / 8, some);
        store_bits(passed + i / 8, relu_piece(y + i, x + i, bits, some, scale, past), some);
    }
    if (past)
        stream_end();
}

/* y = relu(x) m[n], and a second mask of what relu let through.  y may be x. */
void KERNEL(relu_dropout)(real *y, uint8_t *mask, uint8_t *passed, const real *x, size_t n, double p, double scale,
                          uint64_t key, uint64_t call)
{
    const struct chance chance = chance_of(p);
    const int past = y != x && streams(y, n);
    PARALLEL(COST * n, for (size_t block = 0; block < blocks_of(n, BLOCK); block++) {
        draw(mask, block, n, chance, key, call);
        relu_thin(y, passed, x, mask, block, n, (real)scale, past);
    });
}

/* dx = dy times scale or nought where relu let x through, else nought. */
static inline void relu_piece_backward(real *dx, const real *dy, uint64_t bits, uint64_t passed, size_t n, real scale,
                                       int past)
{
    if (n == PIECE) {
        PRAGMA(GCC unroll 32)
        for (size_t i = 0; i < PIECE; i += VLEN) {
            const vec thinned = *(const unaligned *)(dy + i) * those(scale - (vec){0}, bits >> i);
            put(dx + i, those(thinned, passed >> i), past);
        }
    } else {
        for (size_t i = 0; i < n; i++)
            dx[i] = passed >> i & 1 ? dy[i] * (bits >> i & 1 ? scale : 0) : 0;
    }
}

static void relu_thin_backward(real *dx, const real *dy, const uint8_t *mask, const uint8_t *passed, size_t block,
                               size_t n, real scale, int past)
{
    for (size_t i = block * BLOCK, end = end_of(block, n); i < end; i += PIECE) {
        const size_t some = smaller(PIECE, end - i);
        const uint64_t bits = load_bits(mask + i / 8, some), let = load_bits(passed + i / 8, some);
        relu_piece_backward(dx + i, dy + i, bits, let, some, scale, past);
    }
    if (past)
        stream_end();
}

/* dx = dy m where relu let x through.  Both masks are kept: 0 dy is not 0 for every dy.  dx may be dy. */
void KERNEL(relu_dropout_backward)(real *dx, const real *dy, const uint8_t *mask, const uint8_t *passed, size_t n,
                                   double scale)
{
    const int past = dx != dy && streams(dx, n);
    PARALLEL(COST_BACKWARD * n, for (size_t block = 0; block < blocks_of(n, BLOCK); block++)
        relu_thin_backward(dx, dy, mask, passed, block, n, (real)scale, past););
}

/* ---- alpha dropout (Klambauer et al. 2017) ---- */

/* What kept and dropped elements become: x scale + kept, and 0 x + dropped. */
struct line {
    real scale, kept, dropped;
};

static inline void shift_piece(real *y, const real *x, uint64_t bits, size_t n, struct line line)
{
    if (n == PIECE) {
        PRAGMA(GCC unroll 32)
        for (size_t i = 0; i < PIECE; i += VLEN) {
            const vec scale = those(line.scale - (vec){0}, bits >> i);
            const vec shift = those(line.kept - (vec){0}, bits >> i) + those(line.dropped - (vec){0}, ~bits >> i);
            *(unaligned *)(y + i) = *(const unaligned *)(x + i) * scale + shift;
        }
    } else {
        for (size_t i = 0; i < n; i++)
            y[i] = bits >> i & 1 ? x[i] * line.scale + line.kept : x[i] * 0 + line.dropped;
    }
}

static void shift(real *y, const real *x, const uint8_t *mask, size_t block, size_t n, struct line line)
{
    for (size_t i = block * BLOCK, end = end_of(block, n); i < end; i += PIECE) {
        const size_t some = smaller(PIECE, end - i);
        shift_piece(y + i, x + i, load_bits(mask + i / 8, some), some, line);
    }
}

/* y = x m + kept where x is kept, else 0 x + dropped; so dx = dy m.  y may be x. */
void KERNEL(alpha_dropout)(real *y, uint8_t *mask, const real *x, size_t n, double p, double scale, double kept,
                           double dropped, uint64_t key, uint64_t call)
{
    const struct chance chance = chance_of(p);
    const struct line line = {(real)scale, (real)kept, (real)dropped};
    PARALLEL(COST * n, for (size_t block = 0; block < blocks_of(n, BLOCK); block++) {
        draw(mask, block, n, chance, key, call);
        shift(y, x, mask, block, n, line);
    });
}

/* ---- of whole features ---- */

enum { PERIOD = 1024 };

/* The numbers of some features, and rows of them one after the other as long as they fit: so narrow rows, and
 * columns of one, are multiplied by whole vectors. */
struct period {
    real factor[PERIOD], shift[PERIOD];
};

static inline __attribute__((always_inline)) void load_period(struct period *p, const uint8_t *mask, size_t first,
                                                              size_t n, size_t rows, struct line line,
                                                              const int shifted)
{
    size_t j = 0;
    for (; j + VLEN <= n; j += VLEN) {
        const uint64_t bits = bits_at(mask, first + j, VLEN);
        *(unaligned *)(p->factor + j) = those(line.scale - (vec){0}, bits);
        if (shifted)
            *(unaligned *)(p->shift + j) = those(line.kept - (vec){0}, bits) + those(line.dropped - (vec){0}, ~bits);
    }
    for (; j < n; j++) {
        const uint64_t kept = bits_at(mask, first + j, 1) & 1;
        p->factor[j] = kept ? line.scale : 0;
        p->shift[j] = kept ? line.kept : line.dropped;
    }
    for (size_t done = n, all = rows * n; done < all;) {
        const size_t some = smaller(done, all - done);
        memcpy(p->factor + done, p->factor, some * sizeof(real));
        if (shifted)
            memcpy(p->shift + done, p->shift, some * sizeof(real));
        done += some;
    }
}

/* Some rows of an example, in strips of columns where they are wider than a period. */
static inline __attribute__((always_inline)) void drop_rows(real *y, const real *x, const uint8_t *mask, size_t first,
                                                            size_t rows, size_t cols, struct line line,
                                                            const int shifted)
{
    struct period p;
    for (size_t j = 0; j < cols; j += PERIOD) {
        const size_t n = smaller(PERIOD, cols - j), height = n == cols ? smaller(rows, PERIOD / n) : 1;
        load_period(&p, mask, first + j, n, height, line, shifted);
        for (size_t i = 0; i < rows; i += height) {
            const size_t at = i * cols + j, some = smaller(height, rows - i) * n;
            PRAGMA(omp simd)
            for (size_t k = 0; k < some; k++)
                y[at + k] = shifted ? x[at + k] * p.factor[k] + p.shift[k] : x[at + k] * p.factor[k];
        }
    }
}

/* Both of the kernels below. */
static void drop_features(real *y, const real *x, const uint8_t *mask, size_t examples, size_t rows, size_t cols,
                          struct line line, int shifted)
{
    const size_t height = greater(4 * BLOCK / greater(cols, 1), 1), blocks = blocks_of(rows, height);
    PARALLEL(COST_BACKWARD * examples * rows * cols, for (size_t i = 0; i < examples * blocks; i++) {
        const size_t example = i / blocks, row = i % blocks * height, at = (example * rows + row) * cols;
        const size_t some = smaller(height, rows - row);
        if (shifted)
            drop_rows(y + at, x + at, mask, example * cols, some, cols, line, 1);
        else
            drop_rows(y + at, x + at, mask, example * cols, some, cols, line, 0);
    });
}

/* y (examples, rows, cols) = x times scale or nought, by the mask of an example's columns, (examples, cols); this is
 * its own gradient.  y may be x. */
void KERNEL(feature_dropout)(real *y, const real *x, const uint8_t *mask, size_t examples, size_t rows, size_t cols,
                             double scale)
{
    drop_features(y, x, mask, examples, rows, cols, (struct line){(real)scale, 0, 0}, 0);
}

/* The same, and kept or dropped is added. */
void KERNEL(feature_alpha_dropout)(real *y, const real *x, const uint8_t *mask, size_t examples, size_t rows,
                                   size_t cols, double scale, double kept, double dropped)
{
    const struct line line = {(real)scale, (real)kept, (real)dropped};
    drop_features(y, x, mask, examples, rows, cols, line, 1);
}
