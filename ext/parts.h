/* Which pixels meet which in a convolution.
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
#ifndef BATTEN_PARTS_H
#define BATTEN_PARTS_H

#include "batten.h"

struct axis {
    size_t count, taps;           /* of targets, and of the taps of each */
    size_t origin, every, target; /* target: pixels of the whole axis */
    ptrdiff_t first, step, reach;
    size_t source; /* its pixels */
    ptrdiff_t tap, tap_step;
};

/* A part of a pass, for one group. */
struct part {
    struct axis axis[3];
    size_t targets;           /* pixels, in all images */
    size_t terms, run, depth; /* channels of a source pixel in a group, of a row of taps, and of all its taps */
    size_t columns;           /* channels of a target pixel in a group */
    size_t lead, target_lead; /* channels of these in all groups */
    int plain;                /* whether a target's terms are a source pixel as it lies in memory, */
    int dense;                /* and the targets are all pixels of theirs */
    size_t strip; /* rows of targets whose sources are copied at a time, or 0 if these are gathered one by one */
};

/* Makes *f part `number` of a pass; returns 0 where there are no more. */
int batten_part(struct part *f, const batten_convolution *p, int backward, size_t number);

/* Makes *f the whole of the forward pass. */
void batten_whole(struct part *f, const batten_convolution *p);

/* The taps that meet the image from target j on: those from `low` to before `high`. */
void batten_meeting(const struct axis *a, size_t j, size_t *low, size_t *high);

/* The tap of the weights, by its number, that is tap (t0, t1, t2) of a part. */
size_t batten_tap(const batten_convolution *p, const struct part *f, size_t t0, size_t t1, size_t t2);

/* How many blocks a group's targets are worked on in: strips, or some pixels each. */
size_t batten_blocks(const batten_convolution *p, const struct part *f);

/* Of a strip of some rows of targets: its own rows and columns. */
size_t batten_strip_rows(const struct part *f, size_t rows);
size_t batten_strip_columns(const struct part *f);

#endif
