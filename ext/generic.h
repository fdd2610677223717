/* Functions of a real, in its own type: those of <tgmath.h> that kernels use, without the
 * complex numbers behind it, which clang and Windows do not have alike. */
#ifndef BATTEN_GENERIC_H
#define BATTEN_GENERIC_H

#include <math.h>

#define GENERIC(name, x) _Generic((x), float: name##f, default: name)
#define cos(x) GENERIC(cos, x)(x)
#define fabs(x) GENERIC(fabs, x)(x)
#define sin(x) GENERIC(sin, x)(x)
#define sqrt(x) GENERIC(sqrt, x)(x)
#define copysign(x, y) GENERIC(copysign, (x) + (y))(x, y)
#define pow(x, y) GENERIC(pow, (x) + (y))(x, y)

#endif
