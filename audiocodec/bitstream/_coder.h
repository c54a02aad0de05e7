/* What the C files share: how they are compiled, the limits of sizes, what a coder holds, and arrays from Python. */

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

/* gcc makes vectors of a sum of doubles only where it may reorder it, which changes no bit here, and chooses the widest
vectors that the processor has, when the module is loaded, where the loader can do so. Others compile what is written. */
#if defined(__GNUC__) && !defined(__clang__)
#define REORDERED optimize("O3", "associative-math", "no-signed-zeros", "no-trapping-math")
#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__)
#define VECTORISED __attribute__((REORDERED, target_clones("avx512f", "avx2", "default")))
#else
#define VECTORISED __attribute__((REORDERED))
#endif
#else
#define VECTORISED
#endif
#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline)) /* also into what is VECTORISED */
#else
#define INLINE static inline
#endif
#if defined(_MSC_VER)
#define RESTRICT __restrict
#else
#define RESTRICT restrict
#endif

enum {
    MOST_GROUPS = 256,
    MOST_HIDDEN = 1024, /* and as many units of the deep layer */
    MOST_CELLS = 256,
    MOST_BINS = 1024,
    MOST_LEVELS = 16384,
    MOST_KINDS = 8,
    FEW_KINDS = 3,
    NO_KIND = MOST_KINDS, /* whose features are zeros */
    MOST_PAIRS = MOST_KINDS / 2,
    WIDTH_STEP = 32,       /* of the layers that can be summed in 32 bits */
    BLOCK = 8,             /* frames that are encoded together */
    MOST_KEPT = 1 << 19,   /* sums of densities */
    FEW_LEVELS = 64,       /* counts of which there are tables */
    AT_ONCE = 6,           /* levels that are all looked at, instead of a bisection */
    INVERSE_BITS = 44,
    FEATURE_ONE = 256,
    SPREAD_MEAN = 85,
    SLOW_SHIFT = 3,
    SLOWER_SHIFT = 5,
    DEEP_SHIFT = 10,
    OUTPUT_SHIFT = 25,
    PRECISION = 16,
    TOTAL = 1 << PRECISION,
};

/* Tables in the order of the constructor's arguments; the last three may be None together. */
enum {
    LEVELS, RELATIVE, HISTORY, CURRENT, READOUT, HIDDEN_BIAS, START_BIAS, OUTPUT_BIAS, START_OUTPUT_BIAS, DENSITY,
    DEEP_INPUTS, DEEP_BIAS, DEEP_OUTPUTS, TABLES
};

/* The loops of _narrow.h at one width of vectors. */
typedef struct {
    int lanes;
    void (*sum_products)(const int16_t *weights, int width, const int32_t *rows, int pairs, const int32_t *factors,
                         int stride, int frames, const int32_t *from, int from_stride, int32_t *sums);
    void (*make_units)(const int32_t *sums, int width, int32_t *units);
    void (*advance)(int32_t *sums, int width, const int16_t *by_value, const int16_t *by_spread,
                    const int32_t *features, int stride, int frames, const int16_t *first, const int16_t *second,
                    int64_t *outputs);
} Kernel;

typedef struct Work Work;

typedef struct {
    PyObject_HEAD
    Py_buffer views[TABLES];
    int groups, kinds, hidden, deep, cells, bins;
    const int16_t *history, *current, *readout, *deep_inputs, *deep_outputs;
    const int32_t *hidden_bias, *start_bias, *output_bias, *start_output_bias, *deep_bias;
    const uint16_t *density;
    int present; /* groups with more than one level: their numbers, level counts, and whether changes are coded */
    int group[MOST_GROUPS];
    int32_t count[MOST_GROUPS];
    uint64_t inverse[MOST_GROUPS]; /* of the level counts: quotient() */
    /* Of every level of a count c that is not above FEW_LEVELS, from place c * (c + 1) / 2 on, where it is used. */
    uint32_t few_points[(FEW_LEVELS + 1) * (FEW_LEVELS + 2) / 2];
    int32_t few_features[(FEW_LEVELS + 1) * (FEW_LEVELS + 2) / 2];
    uint8_t relative[MOST_GROUPS];
    int pairs; /* of features of the past: the rows of weights that they are multiplied by */
    int32_t rows[2 * MOST_PAIRS * MOST_GROUPS];
    /* NULL, or where the sums of all frames fit 32 bits that have no unit of the deep layer above most_unit. */
    const Kernel *kernel;
    int most_unit;
    int32_t unit_rows[MOST_HIDDEN]; /* 0, 1, 2, ... */
    int32_t placed_hidden[MOST_HIDDEN], placed_deep[MOST_HIDDEN], placed_start[MOST_HIDDEN]; /* biases: place() */
    Work *spare; /* what the last call worked with: taken and put back under the GIL */
} Coder;

/* What a channel's past is told by, of each present group: SPEC.md, section 7.3. */
typedef struct {
    int16_t past[MOST_KINDS + 1][MOST_GROUPS];
    int32_t slow[2][MOST_GROUPS], slower[2][MOST_GROUPS];
    int32_t index[MOST_GROUPS]; /* of the frame before */
} Channel;

/* Of the frames that are worked on; and the sums of densities met so far, as cells are met again and again. Two 16-bit
numbers that belong together are one of 32 bits, the first the low one. */
struct Work {
    int32_t factors[BLOCK * MOST_PAIRS * MOST_GROUPS]; /* the past of each frame, in pairs */
    int32_t features[BLOCK * (MOST_GROUPS + 1)];       /* 0, then value and spread of each index */
    int32_t symbols[BLOCK * MOST_GROUPS];              /* where they are encoded */
    int32_t sums[BLOCK * MOST_HIDDEN], deep_sums[BLOCK * MOST_HIDDEN];
    int32_t units[BLOCK * MOST_HIDDEN / 2]; /* of the deep layer, in pairs */
    double wide[BLOCK * MOST_HIDDEN];       /* sums that need not fit 32 bits */
    int kept;                               /* cells whose densities' sums are there */
    uint16_t *place;                        /* of each cell: 0, or which row of sums */
    uint32_t density[];                     /* rows of bins + 2 sums; then come the places */
};

typedef struct {
    const uint8_t *data;
    Py_ssize_t size, next;
    uint32_t code, span;
} Range;

/* A row of weights and what it is multiplied by. */
typedef struct {
    int32_t row;
    int16_t factor;
} Term;

typedef enum { DONE, NO_CODE, OUTSIDE } Status;

/* Holds a contiguous array of elements of `size` bytes whose shape is `axes`, of which 0 stands for any length. */
static int hold(PyObject *object, Py_buffer *view, int writable, Py_ssize_t size, int dimensions, const Py_ssize_t *axes)
{
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return -1;
    int fits = view->itemsize == size && view->ndim == dimensions && (uintptr_t)view->buf % (uintptr_t)size == 0;
    for (int axis = 0; fits && axis < dimensions; axis++)
        fits = axes[axis] == 0 || view->shape[axis] == axes[axis];
    if (fits)
        return 0;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "an array has another type or shape than it should");
    return -1;
}
