/* How images are brought to another size, and by whom (resize.c does it). */
#include "batten.h"
#include "sizes.h"

enum { LINE = 48 }; /* elements that add_rows takes at a time, or a multiple of them, in whole lines of the cache */

/* The pixels of a result that is less than reach = max(in / out, 1) away from them. */
static size_t terms_of(const batten_resize_plan *p, int axis)
{
    const size_t in = p->images.in[axis], out = p->images.out[axis];
    return p->how == BATTEN_NEAREST ? 1 : p->how == BATTEN_BILINEAR ? 2 : smaller(in, 2 * (in / greater(1, out)) + 3);
}

size_t batten_plan_resize(batten_resize_plan *p, batten_dtype type)
{
    const batten_images *const m = &p->images;
    p->terms[0] = terms_of(p, 0);
    p->terms[1] = terms_of(p, 1);
    p->strips = blocks_of(m->out[0], BATTEN_ROWS);
    p->wide = up(m->in[1] * m->pixel + BATTEN_FOUR, LINE);
    p->line = up(m->out[1] * m->pixel + BATTEN_FOUR, LINE);
    p->table = m->out[0] * p->terms[0] + m->out[1] * p->terms[1];
    p->team = batten_team(m->count * m->out[0] * m->out[1] * m->pixel * (p->terms[0] + p->terms[1]));
    const size_t runs = p->parts * (m->out[0] + m->out[1]) * 2 * sizeof(size_t);
    const size_t size = type == BATTEN_F32 ? sizeof(float) : sizeof(double);
    p->shared = up(runs / size + p->parts * p->table, LINE);
    p->room = p->wide + 2 * p->terms[0] * p->line;
    return (p->shared + (size_t)p->team * p->room) * size;
}
