/* What is done for every symbol of a RANGE payload: SPEC.md, section 7, in the words of its formulas.

The same arithmetic as referencecoder.py and rangecoder.py, which say why it is as it is and which every result is
tested against; this file only does it without an interpreter between two symbols. All sums are integers below 2**53
(EntropyModel checks that), so that doubles hold them exactly whatever the order of summation: the compiler may use
vectors of any width and fused multiplications, and no bit changes.

Weights are read as the model's own int16 tensors, and densities are summed when a symbol needs them: to make tables of
them for every file took the reference milliseconds, in which seconds of audio are coded.

Bounds: sizes are checked when a Coder is made, against the limits below, which size every array on the stack. Level
counts are copied then, so that nobody can change them later. A cell is clamped, a level found by bisection lies within
its count, bytes past a payload's end read as 0. The loops run without the GIL on buffers that are held. */

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

typedef struct {
    PyObject_HEAD
    Py_buffer views[TABLES];
    int groups, kinds, hidden, deep, cells, bins;
    const int16_t *history, *current, *readout, *deep_inputs, *deep_outputs;
    const int32_t *hidden_bias, *output_bias, *start_output_bias, *deep_bias;
    const uint16_t *density;
    int present; /* groups with more than one level: their numbers, level counts, and whether changes are coded */
    int group[MOST_GROUPS];
    int32_t count[MOST_GROUPS];
    uint8_t relative[MOST_GROUPS];
    double first[MOST_HIDDEN]; /* the hidden sums that a packet's first frame begins with */
} Coder;

/* What a channel's past is told by, of each present group: SPEC.md, section 7.3. */
typedef struct {
    int32_t past[MOST_KINDS][MOST_GROUPS];
    int32_t slow[2][MOST_GROUPS], slower[2][MOST_GROUPS];
    int32_t index[MOST_GROUPS]; /* of the frame before */
} Channel;

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

/* ---- The network ---- */

/* The innermost loops are functions of their own: in a loop around them gcc merges rounds of the outer loop first, and
then finds no vectors. Factors of 16 bits let it multiply in 16 bits, twice as many at once. */

VECTORISED static void add_rows(int32_t *RESTRICT sums, int width, const int16_t *RESTRICT a, int16_t times_a,
                                const int16_t *RESTRICT b, int16_t times_b, const int16_t *RESTRICT c, int16_t times_c,
                                const int16_t *RESTRICT d, int16_t times_d)
{
    for (int h = 0; h < width; h++)
        sums[h] += a[h] * times_a + b[h] * times_b + c[h] * times_c + d[h] * times_d;
}

VECTORISED static void add_unit(double *RESTRICT sums, int width, const int16_t *RESTRICT weights, double unit)
{
    for (int h = 0; h < width; h++)
        sums[h] += unit * weights[h];
}

/* totals += the sum of rows of weights by factors, which are 256 at most in magnitude, since features are: 128 products
fit 32 bits. `count` is a multiple of 4. */
static void add_terms(const int16_t *weights, int width, const Term *terms, int count, int64_t *totals)
{
    int32_t sums[MOST_HIDDEN];
    for (int first = 0; first < count; first += 128) {
        int end = count - first < 128 ? count : first + 128;
        memset(sums, 0, (size_t)width * sizeof *sums);
        for (const Term *t = terms + first; t < terms + end; t += 4)
            add_rows(sums, width, weights + (size_t)t[0].row * width, t[0].factor, weights + (size_t)t[1].row * width,
                     t[1].factor, weights + (size_t)t[2].row * width, t[2].factor, weights + (size_t)t[3].row * width,
                     t[3].factor);
        for (int h = 0; h < width; h++)
            totals[h] += sums[h];
    }
}

/* The hidden sums that a frame begins with, from its past (NULL: zeros). */
static void begin(const Coder *coder, const Channel *channel, double *sums)
{
    Term terms[MOST_KINDS * MOST_GROUPS + 3];
    int64_t totals[MOST_HIDDEN];
    int count = 0;
    for (int kind = 0; channel != NULL && kind < coder->kinds; kind++)
        for (int i = 0; i < coder->present; i++)
            if (channel->past[kind][i] != 0) {
                terms[count].row = kind * coder->groups + coder->group[i];
                terms[count++].factor = (int16_t)channel->past[kind][i];
            }
    for (; count % 4 != 0; count++)
        terms[count].row = terms[count].factor = 0;
    for (int h = 0; h < coder->hidden; h++)
        totals[h] = coder->hidden_bias[h];
    add_terms(coder->history, coder->hidden, terms, count, totals);
    for (int h = 0; h < coder->hidden; h++)
        sums[h] = (double)totals[h];
    if (coder->deep > 0) {
        for (int a = 0; a < coder->deep; a++)
            totals[a] = coder->deep_bias[a];
        add_terms(coder->deep_inputs, coder->deep, terms, count, totals);
        for (int a = 0; a < coder->deep; a++)
            if (totals[a] >> DEEP_SHIFT > 0) /* about half of them */
                add_unit(sums, coder->hidden, coder->deep_outputs + (size_t)a * coder->hidden,
                         (double)(totals[a] >> DEEP_SHIFT));
    }
}

/* Adds to the hidden sums what an index says, and reads a symbol's two outputs from them. */
VECTORISED static void advance(double *RESTRICT sums, int width, const int16_t *RESTRICT by_value, int16_t value,
                               const int16_t *RESTRICT by_spread, int16_t spread, const int16_t *RESTRICT first,
                               const int16_t *RESTRICT second, double *RESTRICT outputs)
{
    double a = 0, b = 0;
    for (int h = 0; h < width; h++) {
        double sum = sums[h] + (by_value[h] * value + by_spread[h] * spread);
        double active = sum > 0 ? sum : 0;
        sums[h] = sum;
        a += active * first[h];
        b += active * second[h];
    }
    outputs[0] = a;
    outputs[1] = b;
}

/* One axis of a cell: an output without its fraction bits, within the table. */
static int cell_of(double output, int cells)
{
    double cell = output * (1.0 / (1 << OUTPUT_SHIFT));
    return cell > 0 ? cell < cells - 1 ? (int)cell : cells - 1 : 0;
}

/* Quotients of numbers that may be negative are rounded down: count * FEATURE_ONE is added before and off after. */
static int32_t value_of(int32_t index, int32_t count)
{
    return (2 * index + 1) * FEATURE_ONE / count - FEATURE_ONE;
}

static int32_t spread_of(int32_t value)
{
    return value * value / FEATURE_ONE - SPREAD_MEAN;
}

/* A frame joins a channel's past. Shifts of negative numbers round down with every compiler there is. */
static void remember(const Coder *coder, Channel *channel)
{
    for (int i = 0; i < coder->present; i++) {
        int32_t value = value_of(channel->index[i], coder->count[i]);
        int32_t features[2] = {value, spread_of(value)};
        for (int k = 0; k < 2; k++) {
            channel->slow[k][i] += features[k] - (channel->slow[k][i] >> SLOW_SHIFT);
            channel->slower[k][i] += features[k] - (channel->slower[k][i] >> SLOWER_SHIFT);
            channel->past[3 + k][i] = channel->past[k][i];
            channel->past[k][i] = features[k];
            channel->past[6 + k][i] = channel->slower[k][i] >> SLOWER_SHIFT;
        }
        channel->past[2][i] = channel->slow[1][i] >> SLOW_SHIFT;
        channel->past[5][i] = channel->slow[0][i] >> SLOW_SHIFT;
    }
}

/* ---- Densities and the range coder ---- */

/* A density's sums up to each of its points, of which a frequency table is cut. */
static void accumulate(const uint16_t *density, int bins, uint32_t *sums)
{
    uint32_t sum = 0;
    for (int bin = 0; bin < bins; bin++) {
        sums[bin] = sum;
        sum += density[bin];
    }
    sums[bins] = sums[bins + 1] = sum; /* the last level has no point above it */
}

/* The frequency table at one level. */
static uint32_t cut(const uint32_t *sums, uint32_t bins, uint32_t level, uint32_t count)
{
    uint32_t below = level * bins / count, rest = level * bins % count;
    uint32_t value = sums[below] + (sums[below + 1] - sums[below]) * rest / count;
    return (value * (TOTAL - count) >> PRECISION) + level;
}

static Status decode_symbol(Range *range, const uint32_t *sums, uint32_t bins, uint32_t count, uint32_t *symbol)
{
    uint32_t step = range->span >> PRECISION, target = range->code / step;
    uint32_t low = 0, high = count, start = 0, end = TOTAL;
    /* Division leaves up to 65535 values of the state above the last interval: no encoder produces them. */
    if (target >= TOTAL)
        return NO_CODE;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2, at = cut(sums, bins, middle, count);
        if (at <= target)
            low = middle, start = at;
        else
            high = middle, end = at;
    }
    if (end > TOTAL) /* a density that was changed since the model was checked; the span would overflow */
        return NO_CODE;
    range->code -= step * start;
    range->span = step * (end - start); /* not 0: start <= target < end */
    for (; range->span < 1u << 24; range->span <<= 8, range->next++)
        range->code = range->code << 8 | (range->next < range->size ? range->data[range->next] : 0);
    *symbol = low;
    return DONE;
}

/* Writes the code of intervals to `out`, which has room for 2 bytes each and 4 more; returns the number of bytes. */
static Py_ssize_t encode_pairs(const int64_t *pairs, Py_ssize_t count, uint8_t *out)
{
    uint64_t low = 0, span = UINT32_MAX, value = 0;
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i <= count; i++) {
        if (i < count) {
            uint64_t step = span >> PRECISION;
            low += step * (uint64_t)pairs[2 * i];
            span = step * (uint64_t)pairs[2 * i + 1];
        } else { /* zeros are read past the end: the number in the interval with most of them ends the code */
            for (int zeros = 32; zeros >= 0; zeros -= 8) {
                value = ((low + (((uint64_t)1 << zeros) - 1)) >> zeros) << zeros;
                if (value < low + span)
                    break;
            }
            low = value;
        }
        if (low > UINT32_MAX) { /* a carry; there is a byte that takes it, as the whole code is below 1 */
            Py_ssize_t at = size - 1;
            for (; at > 0 && out[at] == 255; at--)
                out[at] = 0;
            if (at >= 0)
                out[at]++;
            low &= UINT32_MAX;
        }
        for (; i < count && span < 1u << 24; span <<= 8, low = low << 8 & UINT32_MAX)
            out[size++] = (uint8_t)(low >> 24);
    }
    for (int shift = 24; shift >= 0; shift -= 8)
        out[size++] = (uint8_t)(low >> shift);
    while (size > 0 && out[size - 1] == 0)
        size--;
    return size;
}

/* ---- Frames ---- */

/* One frame of one channel: decodes its indices where there is a range decoder, else writes where each lies in its
frequency table, as (cumulative frequency, frequency). */
static Status code_row(const Coder *coder, Channel *channel, int first, double *sums, Range *range, int64_t *indices,
                       int64_t *pairs)
{
    uint32_t density[MOST_BINS + 2];
    int width = coder->hidden, before = 0;
    int32_t value = 0, spread = 0;
    for (int i = 0; i < coder->present; i++) {
        int group = coder->group[i];
        int32_t count = coder->count[i], index;
        size_t row = (size_t)group * width, last = (size_t)before * width, plane = (size_t)coder->groups * width;
        double outputs[2];
        int cell = 0;
        advance(sums, width, coder->current + last, (int16_t)value, coder->current + plane + last, (int16_t)spread,
                coder->readout + row, coder->readout + plane + row, outputs);
        for (int o = 0; o < 2; o++) {
            int at = o * coder->groups + group;
            double bias = coder->output_bias[at] + (first ? (double)coder->start_output_bias[at] : 0);
            cell = cell * coder->cells + cell_of(outputs[o] + bias, coder->cells);
        }
        accumulate(coder->density + (size_t)cell * coder->bins, coder->bins, density);
        /* A change is coded as one from half the levels, so that none lies in the middle of the table. */
        int32_t shift = coder->relative[i] ? channel->index[i] - count / 2 : 0;
        if (range != NULL) {
            uint32_t symbol;
            Status status = decode_symbol(range, density, coder->bins, count, &symbol);
            if (status != DONE)
                return status;
            index = (int32_t)symbol + shift;
            index += index < 0 ? count : index >= count ? -count : 0;
            indices[group] = index;
        } else {
            if (indices[group] < 0 || indices[group] >= count)
                return OUTSIDE;
            index = (int32_t)indices[group];
            int32_t symbol = index - shift;
            symbol += symbol < 0 ? count : symbol >= count ? -count : 0;
            pairs[2 * i] = cut(density, coder->bins, symbol, count);
            pairs[2 * i + 1] = cut(density, coder->bins, symbol + 1, count) - pairs[2 * i];
        }
        channel->index[i] = index;
        value = value_of(index, count);
        spread = spread_of(value);
        before = group;
    }
    remember(coder, channel);
    return DONE;
}

static Status code_frames(const Coder *coder, Channel *past, Py_ssize_t frames, Py_ssize_t channels, Range *range,
                          int64_t *indices, int64_t *pairs)
{
    double sums[MOST_HIDDEN];
    for (Py_ssize_t channel = 0; channel < channels; channel++)
        for (int i = 0; i < coder->present; i++)
            past[channel].index[i] = coder->count[i] / 2;
    for (Py_ssize_t frame = 0; frame < frames; frame++)
        for (Py_ssize_t channel = 0; channel < channels; channel++) {
            if (frame == 0)
                memcpy(sums, coder->first, (size_t)coder->hidden * sizeof *sums);
            else
                begin(coder, &past[channel], sums);
            Status status = code_row(coder, &past[channel], frame == 0, sums, range, indices, pairs);
            if (status != DONE)
                return status;
            indices += coder->groups;
            pairs += pairs != NULL ? 2 * coder->present : 0;
        }
    return DONE;
}

/* ---- Python's side ---- */

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

static int hold_tables(Coder *coder, PyObject **tables)
{
    static const int limits[] = {MOST_GROUPS, MOST_KINDS, MOST_HIDDEN, MOST_HIDDEN, MOST_CELLS, MOST_BINS};
    int *sizes[] = {&coder->groups, &coder->kinds, &coder->hidden, &coder->deep, &coder->cells, &coder->bins};
    enum { G, K, H, A, M, B, TWO };
    /* Element size, and axes: a size is taken from the first table that has it. */
    static const struct {
        int size, dimensions, axes[3];
    } layout[TABLES] = {
        [LEVELS] = {2, 1, {G}},           [RELATIVE] = {1, 1, {G}},        [HISTORY] = {2, 3, {K, G, H}},
        [CURRENT] = {2, 3, {TWO, G, H}},  [READOUT] = {2, 3, {TWO, G, H}}, [HIDDEN_BIAS] = {4, 1, {H}},
        [START_BIAS] = {4, 1, {H}},       [OUTPUT_BIAS] = {4, 2, {TWO, G}}, [START_OUTPUT_BIAS] = {4, 2, {TWO, G}},
        [DENSITY] = {2, 3, {M, M, B}},    [DEEP_INPUTS] = {2, 3, {K, G, A}}, [DEEP_BIAS] = {4, 1, {A}},
        [DEEP_OUTPUTS] = {2, 2, {A, H}},
    };
    for (int table = 0; table < TABLES; table++) {
        Py_ssize_t axes[3];
        if (table >= DEEP_INPUTS && tables[DEEP_INPUTS] == Py_None && tables[table] == Py_None)
            continue; /* without a deep layer */
        if (table > DEEP_INPUTS && tables[DEEP_INPUTS] == Py_None) {
            PyErr_SetString(PyExc_ValueError, "the deep layer has no inputs");
            return -1;
        }
        for (int axis = 0; axis < layout[table].dimensions; axis++)
            axes[axis] = layout[table].axes[axis] == TWO ? 2 : *sizes[layout[table].axes[axis]];
        if (hold(tables[table], &coder->views[table], 0, layout[table].size, layout[table].dimensions, axes) < 0)
            return -1;
        for (int axis = 0; axis < layout[table].dimensions; axis++) {
            Py_ssize_t length = coder->views[table].shape[axis];
            int size = layout[table].axes[axis];
            if (size == TWO)
                continue;
            if (length < 1 || length > limits[size] || (*sizes[size] != 0 && length != *sizes[size])) {
                PyErr_SetString(PyExc_ValueError, "a table has an axis that does not fit the others, or is too long");
                return -1;
            }
            *sizes[size] = (int)length;
        }
    }
    if (coder->kinds != FEW_KINDS && coder->kinds != MOST_KINDS) {
        PyErr_SetString(PyExc_ValueError, "there must be 3 or 8 kinds of history");
        return -1;
    }
    return 0;
}

static PyObject *coder_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *tables[TABLES];
    if (keywords != NULL && PyDict_GET_SIZE(keywords) != 0) {
        PyErr_SetString(PyExc_TypeError, "Coder takes no keywords");
        return NULL;
    }
    if (PyTuple_GET_SIZE(arguments) != TABLES) {
        PyErr_SetString(PyExc_TypeError, "Coder takes 13 tables");
        return NULL;
    }
    for (int table = 0; table < TABLES; table++)
        tables[table] = PyTuple_GET_ITEM(arguments, table);
    Coder *coder = (Coder *)type->tp_alloc(type, 0); /* all zeros */
    if (coder == NULL)
        return NULL;
    if (hold_tables(coder, tables) < 0) {
        Py_DECREF(coder);
        return NULL;
    }
    coder->history = coder->views[HISTORY].buf;
    coder->current = coder->views[CURRENT].buf;
    coder->readout = coder->views[READOUT].buf;
    coder->hidden_bias = coder->views[HIDDEN_BIAS].buf;
    coder->output_bias = coder->views[OUTPUT_BIAS].buf;
    coder->start_output_bias = coder->views[START_OUTPUT_BIAS].buf;
    coder->density = coder->views[DENSITY].buf;
    coder->deep_inputs = coder->views[DEEP_INPUTS].buf;
    coder->deep_bias = coder->views[DEEP_BIAS].buf;
    coder->deep_outputs = coder->views[DEEP_OUTPUTS].buf;
    const uint16_t *levels = coder->views[LEVELS].buf;
    const uint8_t *relative = coder->views[RELATIVE].buf;
    for (int group = 0; group < coder->groups; group++) {
        if (levels[group] < 1 || levels[group] > MOST_LEVELS) {
            PyErr_SetString(PyExc_ValueError, "a level count lies outside 1 to 16384");
            Py_DECREF(coder);
            return NULL;
        }
        if (levels[group] > 1) {
            coder->group[coder->present] = group;
            coder->count[coder->present] = levels[group];
            coder->relative[coder->present++] = relative[group] != 0;
        }
    }
    begin(coder, NULL, coder->first);
    const int32_t *start_bias = coder->views[START_BIAS].buf;
    for (int h = 0; h < coder->hidden; h++)
        coder->first[h] += start_bias[h];
    return (PyObject *)coder;
}

static void coder_free(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    for (int table = 0; table < TABLES; table++)
        PyBuffer_Release(&((Coder *)self)->views[table]); /* does nothing for one that was not held */
    type->tp_free(self);
    Py_DECREF(type);
}

/* Runs the loop over `indices [frames, channels, groups]` without the GIL; -1 with an error set where that fails. */
static int run(Coder *coder, Py_buffer *indices, Range *range, int64_t *pairs, Status *status)
{
    Py_ssize_t frames = indices->shape[0], channels = indices->shape[1];
    *status = DONE;
    if (indices->len == 0)
        return 0;
    Channel *past = PyMem_RawCalloc((size_t)channels, sizeof *past);
    if (past == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS
    *status = code_frames(coder, past, frames, channels, range, indices->buf, pairs);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(past);
    return 0;
}

static PyObject *coder_intervals(PyObject *self, PyObject *arguments)
{
    Coder *coder = (Coder *)self;
    PyObject *given, *wanted, *result = NULL;
    Py_buffer indices, pairs;
    Status status;
    if (!PyArg_ParseTuple(arguments, "OO", &given, &wanted))
        return NULL;
    if (hold(given, &indices, 0, sizeof(int64_t), 3, (Py_ssize_t[]){0, 0, coder->groups}) < 0)
        return NULL;
    Py_ssize_t rows = indices.len / (Py_ssize_t)sizeof(int64_t) / coder->groups;
    if (hold(wanted, &pairs, 1, sizeof(int64_t), 3, (Py_ssize_t[]){0, 0, 2}) == 0) {
        if (pairs.shape[0] != rows || pairs.shape[1] != coder->present)
            PyErr_SetString(PyExc_ValueError, "intervals must be [frames * channels, present groups, 2]");
        else if (run(coder, &indices, NULL, pairs.buf, &status) == 0) {
            if (status == DONE)
                result = Py_NewRef(Py_None);
            else
                PyErr_SetString(PyExc_ValueError, "an index lies outside its levels");
        }
        PyBuffer_Release(&pairs);
    }
    PyBuffer_Release(&indices);
    return result;
}

static PyObject *coder_read(PyObject *self, PyObject *arguments)
{
    Coder *coder = (Coder *)self;
    PyObject *wanted, *result = NULL;
    Py_buffer data, indices;
    unsigned long long code, span;
    Py_ssize_t next;
    Status status;
    if (!PyArg_ParseTuple(arguments, "y*KKnO", &data, &code, &span, &next, &wanted))
        return NULL;
    /* A symbol takes three bytes at most, and a buffer of indices eight for each: the position cannot overflow. */
    if (code > UINT32_MAX || span > UINT32_MAX || span < 1u << 24 || next < 0 || next > PY_SSIZE_T_MAX / 2)
        PyErr_SetString(PyExc_ValueError, "that is no state of a range decoder");
    else if (hold(wanted, &indices, 1, sizeof(int64_t), 3, (Py_ssize_t[]){0, 0, coder->groups}) == 0) {
        Range range = {data.buf, data.len, next, (uint32_t)code, (uint32_t)span};
        memset(indices.buf, 0, (size_t)indices.len); /* groups of one level are skipped below */
        if (run(coder, &indices, &range, NULL, &status) == 0)
            result = status == DONE
                         ? Py_BuildValue("KKn", (unsigned long long)range.code, (unsigned long long)range.span, range.next)
                         : Py_NewRef(Py_None);
        PyBuffer_Release(&indices);
    }
    PyBuffer_Release(&data);
    return result;
}

static PyObject *encode_intervals(PyObject *Py_UNUSED(module), PyObject *argument)
{
    Py_buffer pairs;
    if (hold(argument, &pairs, 0, sizeof(int64_t), 2, (Py_ssize_t[]){0, 2}) < 0)
        return NULL;
    PyObject *code = NULL;
    const int64_t *numbers = pairs.buf;
    Py_ssize_t count = pairs.shape[0], size = 0, i = 0;
    for (; i < count; i++) /* every frequency from 1 to 65536 leaves the span at 2**8 or more, hence the room below */
        if (numbers[2 * i] < 0 || numbers[2 * i + 1] < 1 || numbers[2 * i] > TOTAL || numbers[2 * i + 1] > TOTAL ||
            numbers[2 * i] + numbers[2 * i + 1] > TOTAL)
            break;
    if (i < count)
        PyErr_SetString(PyExc_ValueError, "an interval lies outside 65536");
    else
        code = PyBytes_FromStringAndSize(NULL, 2 * count + 4);
    if (code != NULL) {
        uint8_t *out = (uint8_t *)PyBytes_AS_STRING(code);
        Py_BEGIN_ALLOW_THREADS
        size = encode_pairs(numbers, count, out);
        Py_END_ALLOW_THREADS
        _PyBytes_Resize(&code, size);
    }
    PyBuffer_Release(&pairs);
    return code;
}

static PyMethodDef coder_methods[] = {
    {"intervals", coder_intervals, METH_VARARGS,
     "intervals(indices, out): where each symbol of int64 indices [frames, channels, groups] lies in its frequency\n"
     "table, to out [frames * channels, present groups, 2]."},
    {"read", coder_read, METH_VARARGS,
     "read(data, code, span, next, out): decode int64 indices [frames, channels, groups] to out. Returns the range\n"
     "decoder's state (code, span, next) afterwards, or None where the bytes are no code."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot coder_slots[] = {
    {Py_tp_new, coder_new}, {Py_tp_dealloc, coder_free}, {Py_tp_methods, coder_methods}, {0, NULL}};

static PyType_Spec coder_spec = {"audiocodec.bitstream._native.Coder", sizeof(Coder), 0, Py_TPFLAGS_DEFAULT, coder_slots};

static int add_coder(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&coder_spec);
    int failed = type == NULL || PyModule_AddObjectRef(module, "Coder", type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static PyMethodDef methods[] = {
    {"encode_intervals", encode_intervals, METH_O,
     "encode_intervals(pairs): the code of int64 pairs [n, 2] of cumulative frequency and frequency, of 65536."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_coder}, {0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = 0, .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
