/* What is computed when a coder is made: small tables, and whether 32 bits hold all its sums (_narrow.h). */

#pragma once

#include "_symbols.h"

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>

#define LOAD(from) V(loadu_si128)((const void *)(from))
#define STORE(to, vector) V(storeu_si128)((void *)(to), vector)
#define NAME(name) name##_sse2
#define TARGET
#define LANES 4
#define TILE 2
#define WIDE 4
#define Vec __m128i
#define V(name) _mm_##name
#define DOT(sum, a, b) _mm_add_epi32(sum, _mm_madd_epi16(a, b))
#define RELU(a) _mm_andnot_si128(_mm_srai_epi32(a, 31), a)
#define FOLD(a, out) STORE(out, a)
#include "_narrow.h"

#define LOAD(from) V(loadu_si256)((const void *)(from))
#define STORE(to, vector) V(storeu_si256)((void *)(to), vector)
#define NAME(name) name##_avx2
#define TARGET __attribute__((target("avx2")))
#define LANES 8
#define TILE 2
#define WIDE 4
#define Vec __m256i
#define V(name) _mm256_##name
#define DOT(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#define RELU(a) _mm256_max_epi32(a, _mm256_setzero_si256())
#define FOLD(a, out) \
    _mm_storeu_si128((void *)(out), _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)))
#include "_narrow.h"

#define LOAD(from) V(loadu_si512)(from)
#define STORE(to, vector) V(storeu_si512)(to, vector)
#define NAME(name) name##_avx512
#define TARGET __attribute__((target("avx2,avx512f,avx512bw,avx512vnni")))
#define LANES 16
#define TILE 8
#define WIDE 2
#define Vec __m512i
#define V(name) _mm512_##name
#define DOT(sum, a, b) _mm512_dpwssd_epi32(sum, a, b)
#define RELU(a) _mm512_max_epi32(a, _mm512_setzero_si512())
#define FOLD(a, out) FOLD_512(a, out)
#define FOLD_512(a, out)                                                                                    \
    do {                                                                                                    \
        __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));        \
        _mm_storeu_si128((void *)(out),                                                                     \
                         _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));   \
    } while (0)
#include "_narrow.h"

static const Kernel *kernel_of(int most_lanes)
{
    if (most_lanes >= 16 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw"))
        return &kernel_avx512;
    if (most_lanes >= 8 && __builtin_cpu_supports("avx2"))
        return &kernel_avx2;
    return most_lanes >= 4 ? &kernel_sse2 : NULL;
}
#else
static const Kernel *kernel_of(int most_lanes)
{
    (void)most_lanes;
    return NULL;
}
#endif

/* Tests set it, to force the narrower vectors and, by 0, the general way. */
static int most_lanes = 16;

/* sums += magnitudes of a row of weights. */
VECTORISED static void add_magnitudes(const int16_t *RESTRICT weights, int width, int32_t *RESTRICT sums)
{
    for (int h = 0; h < width; h++)
        sums[h] += weights[h] < 0 ? -weights[h] : weights[h];
}

/* Sums of magnitudes of some planes of weights, of the present groups' rows: less than 2**27. */
static void measure(const Coder *coder, const int16_t *weights, int planes, int width, int32_t *sums)
{
    memset(sums, 0, (size_t)width * sizeof *sums);
    for (int plane = 0; plane < planes; plane++)
        for (int i = 0; i < coder->present; i++)
            add_magnitudes(weights + ((size_t)plane * coder->groups + coder->group[i]) * width, width, sums);
}

static int64_t magnitude(int64_t number)
{
    return number < 0 ? -number : number;
}

/* Whether all sums fit 32 bits: the hidden ones 30 bits and a sign, so that they are two digits of 15, as long as no
unit of the deep layer is larger than coder->most_unit. */
static int fits(Coder *coder)
{
    int32_t history[MOST_HIDDEN], current[MOST_HIDDEN], units[MOST_HIDDEN];
    int64_t most = 0, most_units = 1;
    if (coder->hidden % WIDTH_STEP != 0 || coder->deep % WIDTH_STEP != 0)
        return 0;
    measure(coder, coder->history, coder->kinds, coder->hidden, history);
    measure(coder, coder->current, 2, coder->hidden, current);
    memset(units, 0, sizeof units);
    for (int a = 0; a < coder->deep; a++)
        add_magnitudes(coder->deep_outputs + (size_t)a * coder->hidden, coder->hidden, units);
    for (int h = 0; h < coder->hidden; h++) {
        int64_t sum = magnitude(coder->hidden_bias[h]) + magnitude(coder->start_bias[h]) +
                      ((int64_t)history[h] + current[h]) * FEATURE_ONE;
        most = sum > most ? sum : most;
        most_units = units[h] > most_units ? units[h] : most_units;
    }
    if (most >= 1 << 30)
        return 0;
    int64_t room = ((1 << 30) - 1 - most) / most_units;
    coder->most_unit = room < INT16_MAX - 1 ? (int)room : INT16_MAX - 1;
    if (coder->deep > 0) {
        measure(coder, coder->deep_inputs, coder->kinds, coder->deep, units);
        for (int a = 0; a < coder->deep; a++)
            if (magnitude(coder->deep_bias[a]) + (int64_t)units[a] * FEATURE_ONE > INT32_MAX)
                return 0;
    }
    for (int i = 0; i < coder->present; i++)
        for (int o = 0; o < 2; o++) { /* digits of 15 bits by weights whose magnitudes sum to less than 2**16 */
            const int16_t *row = coder->readout + ((size_t)o * coder->groups + coder->group[i]) * coder->hidden;
            int32_t sum = 0;
            for (int h = 0; h < coder->hidden; h++)
                sum += row[h] < 0 ? -row[h] : row[h];
            if (sum > UINT16_MAX)
                return 0;
        }
    return 1;
}

/* Biases in the order in which _narrow.h has sums: of every 2 * lanes of them, first those that interleaving puts into
the low vector. */
static void place(const int32_t *biases, int width, int lanes, int32_t *placed)
{
    for (int h = 0; h < width; h++) {
        int start = h / (2 * lanes) * 2 * lanes, rest = h - start;
        placed[start + (rest % 8 / 4) * lanes + rest / 8 * 4 + rest % 4] = biases[h];
    }
}

/* What is computed once, from tables that were checked. */
static void prepare(Coder *coder)
{
    int few = coder->kinds == FEW_KINDS, pairs = few ? 2 : MOST_PAIRS;
    coder->pairs = pairs * coder->present;
    for (int p = 0; p < pairs; p++)
        for (int i = 0; i < coder->present; i++)
            for (int k = 0; k < 2; k++) {
                int kind = few ? FEW_PAIRED[p][k] : PAIRED[p][k];
                coder->rows[2 * (p * coder->present + i) + k] =
                    (kind == NO_KIND ? 0 : kind * coder->groups) + coder->group[i];
            }
    for (int i = 0; i < coder->present; i++) {
        int32_t count = coder->count[i];
        size_t few = few_of(count);
        if (count > FEW_LEVELS || coder->few_points[few + count] != 0)
            continue;
        for (int32_t level = 0; level <= count; level++) {
            coder->few_points[few + level] = point_of(level, coder->bins, count, coder->inverse[i]);
            coder->few_features[few + level] = features_of(level, coder->inverse[i]);
        }
    }
    const Kernel *kernel = kernel_of(most_lanes);
    if (kernel == NULL || !fits(coder))
        return;
    coder->kernel = kernel;
    place(coder->hidden_bias, coder->hidden, kernel->lanes, coder->placed_hidden);
    place(coder->start_bias, coder->hidden, kernel->lanes, coder->placed_start);
    place(coder->deep_bias, coder->deep, kernel->lanes, coder->placed_deep);
    for (int a = 0; a < coder->deep; a++)
        coder->unit_rows[a] = a;
}
