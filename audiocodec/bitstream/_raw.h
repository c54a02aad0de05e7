/* Raw payloads: SPEC.md, section 6. The same as rawcoder.py, without Python's integers.

Rows of symbols are numbers of a mixed radix, as many rows a number as fit 1024 bits, one at least; these numbers follow
each other in so many bits as their largest value needs. Level counts are checked and copied when a RawCoder is made, and
bound every number: 256 counts of 16 bits are 128 limbs. */

#pragma once

#include "_coder.h"

enum {
    NUMBER_BITS = 1024,
    MOST_COUNT = 65535,
    MOST_LIMBS = MOST_GROUPS / 2 + 1,
};

typedef struct {
    PyObject_HEAD
    int groups, rows; /* of a number, at most */
    uint32_t levels[MOST_GROUPS];
    int bits[NUMBER_BITS + 1]; /* of a number of so many rows */
} RawCoder;

typedef enum { RAW_DONE, RAW_LENGTH, RAW_BEYOND, RAW_PADDING } RawStatus;

/* Limbs of 32 bits, the lowest first; none of 0. */
typedef struct {
    int limbs;
    uint32_t limb[MOST_LIMBS];
} Number;

/* Places in a string of bits, of which the highest of a byte is the first; bits that are held lie before or behind. */
typedef struct {
    uint8_t *byte;
    uint64_t held;
    int bits;
} Writer;

typedef struct {
    const uint8_t *byte;
    uint64_t held;
    int bits;
} Reader;

INLINE void multiply_add(Number *number, uint32_t factor, uint32_t more)
{
    uint64_t carry = more;
    for (int i = 0; i < number->limbs; i++) {
        carry += (uint64_t)number->limb[i] * factor;
        number->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0)
        number->limb[number->limbs++] = (uint32_t)carry;
}

INLINE uint32_t divide(Number *number, uint32_t divisor)
{
    uint64_t rest = 0;
    for (int i = number->limbs - 1; i >= 0; i--) {
        rest = rest << 32 | number->limb[i];
        number->limb[i] = (uint32_t)(rest / divisor);
        rest %= divisor;
    }
    while (number->limbs > 0 && number->limb[number->limbs - 1] == 0)
        number->limbs--;
    return (uint32_t)rest;
}

/* How many bits the numbers below this one take. */
static int bits_below(const Number *number)
{
    int bits = 32 * number->limbs - 32, ones = 0;
    for (uint32_t top = number->limb[number->limbs - 1]; top != 0; top >>= 1)
        bits++;
    for (int i = 0; i < number->limbs; i++)
        for (uint32_t limb = number->limb[i]; limb != 0; limb &= limb - 1)
            ones++;
    return ones == 1 ? bits - 1 : bits;
}

static void size_numbers(RawCoder *coder)
{
    Number radix = {1, {1}};
    coder->rows = 1;
    for (int rows = 1; rows <= coder->rows; rows++) {
        for (int group = 0; group < coder->groups; group++)
            multiply_add(&radix, coder->levels[group], 0);
        coder->bits[rows] = bits_below(&radix);
        if (rows == 1)
            coder->rows = coder->bits[1] == 0            ? NUMBER_BITS
                          : coder->bits[1] > NUMBER_BITS ? 1
                                                         : NUMBER_BITS / coder->bits[1];
    }
}

static uint64_t raw_size(const RawCoder *coder, uint64_t rows)
{
    uint64_t whole = rows / (uint64_t)coder->rows;
    return (whole * (uint64_t)coder->bits[coder->rows] + (uint64_t)coder->bits[rows % (uint64_t)coder->rows] + 7) / 8;
}

static void write_number(Writer *out, const Number *number, int bits)
{
    for (int left = bits; left > 0;) {
        int some = (left - 1) % 32 + 1, i = (left - 1) / 32;
        out->held = out->held << some | (i < number->limbs ? number->limb[i] : 0);
        for (out->bits += some; out->bits >= 8; out->bits -= 8)
            *out->byte++ = (uint8_t)(out->held >> (out->bits - 8));
        left -= some;
    }
}

static void read_number(Reader *in, Number *number, int bits)
{
    number->limbs = (bits + 31) / 32;
    for (int left = bits; left > 0;) {
        int some = (left - 1) % 32 + 1, i = (left - 1) / 32;
        for (; in->bits < some; in->bits += 8)
            in->held = in->held << 8 | *in->byte++;
        in->bits -= some;
        number->limb[i] = (uint32_t)(in->held >> in->bits & (((uint64_t)1 << some) - 1));
        left -= some;
    }
}

/* Where as many counts as 32 bits hold the product of are multiplied first, a number is gone through once for all. */
static int join_symbols(const RawCoder *coder, const int64_t *symbols, int rows, Number *number)
{
    uint32_t factor = 1, sum = 0;
    number->limbs = 0;
    for (int row = 0; row < rows; row++)
        for (int group = 0; group < coder->groups; group++) {
            uint32_t count = coder->levels[group];
            uint64_t symbol = (uint64_t)*symbols++;
            if (symbol >= count)
                return -1;
            if ((uint64_t)factor * count > UINT32_MAX) {
                multiply_add(number, factor, sum);
                factor = 1, sum = 0;
            }
            factor *= count;
            sum = sum * count + (uint32_t)symbol;
        }
    multiply_add(number, factor, sum);
    return 0;
}

/* The other way round, from the last symbol on; what is left of the number must be nothing. */
static void part_symbols(const RawCoder *coder, Number *number, int rows, int64_t *symbols)
{
    for (int last = rows * coder->groups, first = last; last > 0; last = first) {
        uint32_t factor = 1;
        for (; first > 0; first--) {
            uint32_t count = coder->levels[(first - 1) % coder->groups];
            if ((uint64_t)factor * count > UINT32_MAX)
                break;
            factor *= count;
        }
        uint32_t sum = divide(number, factor);
        for (int i = last - 1; i >= first; i--) {
            uint32_t count = coder->levels[i % coder->groups];
            symbols[i] = sum % count;
            sum /= count;
        }
    }
}

/* To `raw_size` bytes; -1 where a symbol is not below its count. */
static int pack_rows(const RawCoder *coder, const int64_t *symbols, Py_ssize_t rows, uint8_t *data)
{
    Writer out = {data, 0, 0};
    Number number;
    for (Py_ssize_t first = 0; first < rows; first += coder->rows) {
        int some = rows - first < coder->rows ? (int)(rows - first) : coder->rows;
        if (join_symbols(coder, symbols + first * coder->groups, some, &number) < 0)
            return -1;
        write_number(&out, &number, coder->bits[some]);
    }
    if (out.bits > 0)
        *out.byte = (uint8_t)(out.held << (8 - out.bits));
    return 0;
}

/* From `raw_size` bytes. */
static RawStatus unpack_rows(const RawCoder *coder, const uint8_t *data, Py_ssize_t rows, int64_t *symbols)
{
    Reader in = {data, 0, 0};
    Number number;
    for (Py_ssize_t first = 0; first < rows; first += coder->rows) {
        int some = rows - first < coder->rows ? (int)(rows - first) : coder->rows;
        read_number(&in, &number, coder->bits[some]);
        part_symbols(coder, &number, some, symbols + first * coder->groups);
        if (number.limbs > 0)
            return RAW_BEYOND;
    }
    return (in.held & (((uint64_t)1 << in.bits) - 1)) == 0 ? RAW_DONE : RAW_PADDING;
}

static PyObject *raw_coder_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *given;
    Py_buffer levels;
    if (keywords != NULL && PyDict_GET_SIZE(keywords) != 0) {
        PyErr_SetString(PyExc_TypeError, "RawCoder takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "O", &given) ||
        hold(given, &levels, 0, sizeof(int64_t), 1, (Py_ssize_t[]){0}) < 0)
        return NULL;
    const int64_t *counts = levels.buf;
    Py_ssize_t groups = levels.shape[0];
    int fits = groups >= 1 && groups <= MOST_GROUPS;
    for (Py_ssize_t group = 0; fits && group < groups; group++)
        fits = counts[group] >= 1 && counts[group] <= MOST_COUNT;
    RawCoder *coder = NULL;
    if (!fits)
        PyErr_SetString(PyExc_ValueError, "there must be 1 to 256 level counts, of 1 to 65535");
    else if ((coder = (RawCoder *)type->tp_alloc(type, 0)) != NULL) { /* all zeros */
        coder->groups = (int)groups;
        for (Py_ssize_t group = 0; group < groups; group++)
            coder->levels[group] = (uint32_t)counts[group];
        size_numbers(coder);
    }
    PyBuffer_Release(&levels);
    return (PyObject *)coder;
}

static void raw_coder_free(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *raw_coder_pack(PyObject *self, PyObject *given)
{
    const RawCoder *coder = (const RawCoder *)self;
    Py_buffer indices;
    if (hold(given, &indices, 0, sizeof(int64_t), 3, (Py_ssize_t[]){0, 0, coder->groups}) < 0)
        return NULL;
    Py_ssize_t rows = indices.len / (Py_ssize_t)sizeof(int64_t) / coder->groups;
    PyObject *data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)raw_size(coder, (uint64_t)rows));
    if (data != NULL && pack_rows(coder, indices.buf, rows, (uint8_t *)PyBytes_AS_STRING(data)) < 0) {
        PyErr_SetString(PyExc_ValueError, "an index lies outside its levels");
        Py_CLEAR(data);
    }
    PyBuffer_Release(&indices);
    return data;
}

static PyObject *raw_coder_unpack(PyObject *self, PyObject *arguments)
{
    const RawCoder *coder = (const RawCoder *)self;
    Py_buffer data, indices;
    PyObject *wanted, *result = NULL;
    if (!PyArg_ParseTuple(arguments, "y*O", &data, &wanted))
        return NULL;
    if (hold(wanted, &indices, 1, sizeof(int64_t), 3, (Py_ssize_t[]){0, 0, coder->groups}) == 0) {
        Py_ssize_t rows = indices.len / (Py_ssize_t)sizeof(int64_t) / coder->groups;
        RawStatus status = RAW_LENGTH;
        if ((uint64_t)data.len == raw_size(coder, (uint64_t)rows))
            status = unpack_rows(coder, data.buf, rows, indices.buf);
        result = PyLong_FromLong(status);
        PyBuffer_Release(&indices);
    }
    PyBuffer_Release(&data);
    return result;
}

static PyMethodDef raw_coder_methods[] = {
    {"pack", raw_coder_pack, METH_O, "pack(indices): int64 indices [frames, channels, groups] as bytes."},
    {"unpack", raw_coder_unpack, METH_VARARGS,
     "unpack(data, out): the inverse, to int64 [frames, channels, groups]. Returns 0, or what is wrong with the bytes:\n"
     "1, their number; 2, a value beyond its level counts; 3, padding that is not zero."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot raw_coder_slots[] = {
    {Py_tp_new, raw_coder_new}, {Py_tp_dealloc, raw_coder_free}, {Py_tp_methods, raw_coder_methods}, {0, NULL}};

static PyType_Spec raw_coder_spec = {
    "audiocodec.bitstream._native.RawCoder", sizeof(RawCoder), 0, Py_TPFLAGS_DEFAULT, raw_coder_slots};
