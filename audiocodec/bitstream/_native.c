/* What is done for every symbol of a payload: of RANGE, SPEC.md, section 7, in the words of its formulas.

The same arithmetic as referencecoder.py and rangecoder.py, which say why it is as it is and which every result is
tested against; this file only does it without an interpreter between two symbols. All sums are integers below 2**53
(EntropyModel checks that), so that doubles hold them exactly whatever the order of summation: the compiler may use
vectors of any width and fused multiplications, and no bit changes. Those of the shipped tables fit 32 bits, where many
more are summed at once; whether they do is computed from the tables and, where units of the deep layer decide, looked
at in every frame.

Weights are read as the model's own int16 tensors, and densities are summed when a symbol first needs them: to make
tables of them for every file took the reference milliseconds, in which seconds of audio are coded.

Here is Python's side. _coder.h says what a coder holds, _network.h is the network, _symbols.h turns its outputs into
frequency tables and symbols, and _prepare.h decides whether the loops of _narrow.h are wide enough. _raw.h has RAW
payloads, and Python's side of them.

Bounds: sizes are checked when a Coder is made, against the limits of _coder.h, which size every array. Level
counts are copied then, so that nobody can change them later. A cell is clamped, a level that is found lies within
its count, bytes past a payload's end read as 0. The loops run without the GIL on buffers that are held. */

#include "_prepare.h"
#include "_raw.h"

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
    coder->start_bias = coder->views[START_BIAS].buf;
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
            coder->inverse[coder->present] =
                (((uint64_t)1 << INVERSE_BITS) + levels[group] - 1) / levels[group];
            coder->relative[coder->present++] = relative[group] != 0;
        }
    }
    prepare(coder);
    return (PyObject *)coder;
}

static void coder_free(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    for (int table = 0; table < TABLES; table++)
        PyBuffer_Release(&((Coder *)self)->views[table]); /* does nothing for one that was not held */
    PyMem_RawFree(((Coder *)self)->spare);
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
    Work *work = coder->spare;
    coder->spare = NULL;
    if (work == NULL)
        work = new_work(coder);
    if (past == NULL || work == NULL) {
        PyMem_RawFree(past);
        PyMem_RawFree(work);
        PyErr_NoMemory();
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t channel = 0; channel < channels; channel++)
        for (int i = 0; i < coder->present; i++)
            past[channel].index[i] = coder->count[i] / 2; /* so that a first change is the index itself */
    if (range != NULL)
        *status = decode_frames(coder, work, past, frames, channels, indices->buf, range);
    else
        *status = encode_frames(coder, work, past, frames, channels, indices->buf, pairs);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(past);
    if (coder->spare == NULL)
        coder->spare = work;
    else
        PyMem_RawFree(work);
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

static PyObject *coder_lanes(PyObject *self, PyObject *Py_UNUSED(none))
{
    const Kernel *kernel = ((Coder *)self)->kernel;
    return PyLong_FromLong(kernel != NULL ? kernel->lanes : 0);
}

static PyObject *limit_lanes(PyObject *Py_UNUSED(module), PyObject *argument)
{
    long lanes = PyLong_AsLong(argument);
    if (lanes == -1 && PyErr_Occurred())
        return NULL;
    most_lanes = lanes < 0 ? 0 : lanes > 16 ? 16 : (int)lanes;
    const Kernel *kernel = kernel_of(most_lanes);
    return PyLong_FromLong(kernel != NULL ? kernel->lanes : 0);
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
    {"lanes", coder_lanes, METH_NOARGS,
     "lanes(): how many 32-bit numbers are worked on at once; 0 where sums may need more bits."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot coder_slots[] = {
    {Py_tp_new, coder_new}, {Py_tp_dealloc, coder_free}, {Py_tp_methods, coder_methods}, {0, NULL}};

static PyType_Spec coder_spec = {"audiocodec.bitstream._native.Coder", sizeof(Coder), 0, Py_TPFLAGS_DEFAULT, coder_slots};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    int failed = type == NULL || PyModule_AddObjectRef(module, name, type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static int add_types(PyObject *module)
{
    return add_type(module, "Coder", &coder_spec) < 0 ? -1 : add_type(module, "RawCoder", &raw_coder_spec);
}

static PyMethodDef methods[] = {
    {"encode_intervals", encode_intervals, METH_O,
     "encode_intervals(pairs): the code of int64 pairs [n, 2] of cumulative frequency and frequency, of 65536."},
    {"limit_lanes", limit_lanes, METH_O,
     "limit_lanes(most): the most that coders made from now on use, for tests: 16, 8, 4 or 0. Returns what there is."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_types}, {0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = 0, .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
