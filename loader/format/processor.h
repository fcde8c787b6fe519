/* Which instructions this processor has: one binary holds the loops for several, and takes the best at run time.

   A file with loops is included once for each level, between BEGIN_... and END_LEVEL, with LEVEL(name) giving each
   function a name of its own. Elsewhere than on x86-64 there is only PLAIN. */

#ifndef RESIZEONCE_PROCESSOR_H
#define RESIZEONCE_PROCESSOR_H

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are little-endian, and their words are read as they are"
#endif

enum { PLAIN, AVX2, AVX512, NUM_LEVELS };

static const char *const LEVEL_NAMES[NUM_LEVELS] = {"plain", "avx2", "avx512"};

#define JOIN_NAMES(name, level) name##_##level

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define HAS_LEVELS 1
#define AVX2_TARGET "avx2,fma,bmi,bmi2,sse4.2,crc32,popcnt"
/* What Ice Lake and Zen 4, and all after them, have. */
#define AVX512_TARGET                                                                                              \
    AVX2_TARGET ",avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2,avx512vnni,gfni,vpclmulqdq"
#define DO_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define BEGIN_TARGET(features) DO_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END_LEVEL DO_PRAGMA(clang attribute pop)
#else
#define BEGIN_TARGET(features) DO_PRAGMA(GCC push_options) DO_PRAGMA(GCC target(features))
#define END_LEVEL DO_PRAGMA(GCC pop_options)
#endif

/* The best level of this processor. */
static inline int best_level(void)
{
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
               __builtin_cpu_supports("bmi") && __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                 __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
                 __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("gfni") &&
                 __builtin_cpu_supports("vpclmulqdq");
    return avx2 && avx512 ? AVX512 : avx2 ? AVX2 : PLAIN;
}

#else

#define HAS_LEVELS 0

static inline int best_level(void)
{
    return PLAIN;
}

#endif

/* The level of a name, -1 where there is none such or this processor has not its instructions. */
static inline int level_of(const char *name)
{
    for (int level = 0; level < NUM_LEVELS; level++)
        if (strcmp(name, LEVEL_NAMES[level]) == 0)
            return level <= best_level() ? level : -1;
    return -1;
}

#endif
