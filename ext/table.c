/* The table of this variant's kernels: what dispatch.c calls through.
 *
 * Not every variant has them all (meson.build).  The widest vectors pay where a
 * kernel computes more than it reads; elsewhere a table points to the kernels of the
 * variant below, whose tag is USUAL_TAG, or RARE_TAG. */
#include "kernel.h"
#include "table.h"

#define BATTEN_KERNEL(name, parameters, arguments) void KERNEL_TAGGED(name, USUAL_TAG) parameters;
#define BATTEN_RARE(name, parameters, arguments) void KERNEL_TAGGED(name, RARE_TAG) parameters;
#include "kernels.def"

extern const struct kernels KERNEL(table);

const struct kernels KERNEL(table) = {
#define BATTEN_PRODUCT(name, parameters, arguments) KERNEL(name),
#define BATTEN_KERNEL(name, parameters, arguments) KERNEL_TAGGED(name, USUAL_TAG),
#define BATTEN_RARE(name, parameters, arguments) KERNEL_TAGGED(name, RARE_TAG),
#include "kernels.def"
};
