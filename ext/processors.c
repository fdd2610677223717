/* How many processors this process may use.
 *
 * Three things bound it: the processors that it may run on (its affinity), the
 * processor time that its control groups grant (a container's quota), and the
 * physical cores: two kernels on one core share its arithmetic units and gain
 * nothing.  Asked once, before the first kernel; batten_threads decides by it.
 *
 * A quota is granted to a folder of a mounted hierarchy, and bounds all below it, so
 * the least of those from this process's own group up to the mount counts:
 *   - /proc/self/mountinfo has the mounts: which folder of a hierarchy (1) is seen where
 *     (2), of what kind (3), with which controllers (4):
 *         31 24 0:27 (1)/ (2)/sys/fs/cgroup ro,nosuid - (3)cgroup2 cgroup2 (4)rw,nsdelegate
 *   - /proc/self/cgroup has this process's group in each hierarchy: `0::/docker/1a2b` in
 *     the second version's one, `4:cpu,cpuacct:/docker/1a2b` in the first's for processors;
 *   - there, `cpu.max` has quota and period in microseconds, or "max" for no quota; the
 *     first version has two files for them, and -1.
 * In a container the mount may begin at its own group, and the group's name then be the
 * host's, or end outside of what is seen: the mount itself is the group in that case. */
#ifdef __linux__
#define _GNU_SOURCE
#include <sched.h>
#endif
#include "batten.h"
#include "system.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#ifdef __linux__

enum { NAME = 1024, LINE = 4 * NAME };

static int affinity(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? system_processors() : CPU_COUNT(&set);
}

/* Reads as many numbers of folder/name as there are, at most two. */
static int numbers(const char *folder, const char *name, double *first, double *second)
{
    char path[LINE + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    const int found = fscanf(f, "%lf %lf", first, second);
    fclose(f);
    return found;
}

/* What one group grants, or 0. */
static int granted(const char *folder)
{
    double quota = -1, period = -1;
    if (numbers(folder, "cpu.max", &quota, &period) < 2) {
        numbers(folder, "cpu.cfs_quota_us", &quota, &period);
        numbers(folder, "cpu.cfs_period_us", &period, &period);
    }
    return quota > 0 && period > 0 ? (int)fmin(ceil(quota / period), 1 << 20) : 0;
}

/* Whether "cpu" is one of names, which commas part. */
static int for_processors(const char *names)
{
    for (const char *p = names; (p = strstr(p, "cpu")); p += 3)
        if ((p == names || p[-1] == ',') && (p[3] == ',' || !p[3]))
            return 1;
    return 0;
}

/* This process's group in the second version's hierarchy, or in the first's for processors; "/" if it has none. */
static void own_group(char group[NAME], const char *root, int second)
{
    char line[LINE], controllers[NAME], path[NAME];
    snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    strcpy(group, "/");
    FILE *f = fopen(line, "r");
    while (f && fgets(line, sizeof line, f))
        if (second ? sscanf(line, "0::%1023[^\n]", path) == 1
                   : sscanf(line, "%*d:%1023[^:]:%1023[^\n]", controllers, path) == 2 && for_processors(controllers))
            strcpy(group, path);
    if (f)
        fclose(f);
}

/* The least that the groups from this process's own up to the mount of `top` at `point` grant, or 0. */
static int least(const char *root, const char *top, const char *point, int second)
{
    char group[NAME], folder[LINE];
    own_group(group, root, second);
    const size_t shared = strcmp(top, "/") ? strlen(top) : 0;
    const int below =
        !strncmp(group, top, shared) && (!group[shared] || group[shared] == '/') && strncmp(group + shared, "/..", 3);
    snprintf(folder, sizeof folder, "%s%s%s", root, point, below ? group + shared : "");
    char *const mount = folder + strlen(root) + strlen(point);
    int found = 0;
    for (char *end = folder + strlen(folder); end >= mount; end = strrchr(folder, '/')) {
        *end = 0;
        const int here = granted(folder);
        found = here && (!found || here < found) ? here : found;
    }
    return found;
}

/* The quota in processors, rounded up, or 0 where there is none. */
static int quota(const char *root)
{
    char line[LINE], top[NAME], point[NAME], kind[16], controllers[NAME];
    snprintf(line, sizeof line, "%s/proc/self/mountinfo", root);
    int found = 0;
    FILE *f = fopen(line, "r");
    while (f && fgets(line, sizeof line, f)) {
        const char *rest = strstr(line, " - ");
        if (!rest || sscanf(line, "%*s %*s %*s %1023s %1023s", top, point) != 2
            || sscanf(rest, " - %15s %*s %1023s", kind, controllers) != 2)
            continue;
        const int second = !strcmp(kind, "cgroup2");
        if (second || (!strcmp(kind, "cgroup") && for_processors(controllers))) {
            const int here = least(root, top, point, second);
            found = here && (!found || here < found) ? here : found;
        }
    }
    if (f)
        fclose(f);
    return found;
}

/* Processors that are the first of their core's siblings. */
static int cores(const char *root)
{
    int found = 0;
    const int online = system_processors();
    for (int i = 0, seen = 0; seen < online && i < 4096; i++) {
        char folder[LINE];
        double first, next;
        snprintf(folder, sizeof folder, "%s/sys/devices/system/cpu/cpu%d/topology", root, i);
        if (!numbers(folder, "thread_siblings_list", &first, &next))
            continue;
        seen++;
        found += first == i;
    }
    return found ? found : online;
}

batten_processors batten_count_processors(const char *root)
{
    return (batten_processors){affinity(), quota(root), cores(root)};
}

#else

batten_processors batten_count_processors(const char *root)
{
    (void)root;
    const int online = system_processors();
    return (batten_processors){online, 0, online};
}

#endif
