/* The loops that a conversion spends its time in, for `preprocess.kernels.core`, which says what each takes.

   Every shape and bound is looked at here, before the interpreter is released and a loop runs. */

#include "arguments.h"
#include "codecs.h"
#include "processor.h"
#include "resample.h"

static int level;

static PyObject *use(PyObject *self, PyObject *name)
{
    (void)self;
    PyObject *text = PyUnicode_AsUTF8String(name);
    if (!text)
        return NULL;
    int found = level_of(PyBytes_AsString(text));
    Py_DECREF(text);
    if (found < 0)
        return PyErr_Format(PyExc_ValueError, "%R is no level of instructions that this processor has", name);
    level = found;
    Py_RETURN_NONE;
}

static PyObject *current_level(PyObject *self, PyObject *nothing)
{
    (void)self, (void)nothing;
    return PyUnicode_FromString(LEVEL_NAMES[level]);
}

/* What one axis of a target is made of, as Python hands it over. */
typedef struct {
    PyObject *first, *weights;
} AxisTables;

/* Takes the tables of an axis; returns whether they could be taken, else an exception is set. */
static int take_axis(const ResampleLoops *loops, Axis *axis, AxisTables tables, Py_ssize_t size, Py_ssize_t length)
{
    Py_buffer first = {0}, weights = {0};
    int made = -1;
    if (take_buffer(tables.first, &first, READ, times(8, size), "first") &&
        take_buffer(tables.weights, &weights, READ, -1, "weights")) {
        Py_ssize_t taps = weights.len / 4 / size;
        if (taps > 0 && weights.len == 4 * size * taps)
            made = make_axis(loops, axis, first.buf, weights.buf, size, taps, length);
        if (made == 0)
            PyErr_NoMemory();
        if (made < 0)
            PyErr_Format(PyExc_ValueError, "no table of ascending windows within %zd pixels, of weights within +-%d",
                         length, WEIGHT_LIMIT);
    }
    PyBuffer_Release(&first);
    PyBuffer_Release(&weights);
    return made > 0;
}

/* Takes (size, columns, column weights, rows, row weights, out). */
static int take_target(const ResampleLoops *loops, Target *target, PyObject *given, Py_ssize_t height, Py_ssize_t width,
                       Py_buffer *out)
{
    AxisTables columns, rows;
    PyObject *written;
    Py_ssize_t size;
    if (!PyTuple_Check(given)) {
        PyErr_SetString(PyExc_ValueError, "a target must be a tuple");
        return 0;
    }
    if (!PyArg_ParseTuple(given, "nOOOOO", &size, &columns.first, &columns.weights, &rows.first, &rows.weights,
                          &written))
        return 0;
    if (size < 1 || times(3, times(size, size)) < 0) {
        PyErr_Format(PyExc_ValueError, "size must be positive, and not too large, found %zd", size);
        return 0;
    }
    if (!take_buffer(written, out, WRITE, times(3, times(size, size)), "out") ||
        !take_axis(loops, &target->columns, columns, size, width) ||
        !take_axis(loops, &target->rows, rows, size, height))
        return 0;
    target->out = out->buf;
    target->padded = pad_row(loops, size);
    if (!make_ring(loops, &target->ring, &target->rows, BLOCK_ROWS, 3 * target->padded)) {
        PyErr_NoMemory();
        return 0;
    }
    return 1;
}

static PyObject *resize(PyObject *self, PyObject *args)
{
    (void)self;
    const ResampleLoops *loops = &RESAMPLE_LOOPS[level];
    Target targets[MOST_TARGETS];
    Py_buffer pixels = {0}, outs[MOST_TARGETS] = {{0}};
    PyObject *image, *given;
    Py_ssize_t height, width;
    memset(targets, 0, sizeof targets);
    if (!PyArg_ParseTuple(args, "OnnO!", &image, &height, &width, &PyTuple_Type, &given))
        return NULL;
    const Py_ssize_t num_targets = PyTuple_Size(given);
    if (height < 1 || width < 1 || times(3, times(height, width)) < 0 || num_targets > MOST_TARGETS)
        return PyErr_Format(PyExc_ValueError, "an image of %zd x %zd pixels and %zd targets", height, width,
                            num_targets);
    uint8_t *block = NULL;
    int taken = take_buffer(image, &pixels, READ, times(3, times(height, width)), "image");
    for (Py_ssize_t i = 0; taken && i < num_targets; i++)
        taken = take_target(loops, &targets[i], PyTuple_GetItem(given, i), height, width, &outs[i]);
    if (taken && !(block = make_block(loops, width))) {
        PyErr_NoMemory();
        taken = 0;
    }
    if (taken) {
        Py_BEGIN_ALLOW_THREADS
        resample(loops, pixels.buf, height, width, block, targets, (int)num_targets);
        Py_END_ALLOW_THREADS
    }
    free(block);
    for (int i = 0; i < MOST_TARGETS; i++) {
        free_target(&targets[i]);
        PyBuffer_Release(&outs[i]);
    }
    PyBuffer_Release(&pixels);
    return taken ? Py_NewRef(Py_None) : NULL;
}

static PyObject *resize_lines(PyObject *self, PyObject *args)
{
    (void)self;
    const ResampleLoops *loops = &RESAMPLE_LOOPS[level];
    Py_buffer pixels = {0}, out = {0};
    PyObject *image, *written;
    AxisTables tables;
    Py_ssize_t height, line, size;
    if (!PyArg_ParseTuple(args, "OnnnOOO", &image, &height, &line, &size, &tables.first, &tables.weights, &written))
        return NULL;
    if (height < 1 || line < 1 || size < 1 || times(height, line) < 0 || times(size, line) < 0)
        return PyErr_Format(PyExc_ValueError, "no %zd lines of %zd bytes to be made of %zd", size, line, height);
    Axis rows = {0};
    Ring ring = {0};
    int taken = take_buffer(image, &pixels, READ, times(height, line), "image") &&
                take_buffer(written, &out, WRITE, times(size, line), "out") &&
                take_axis(loops, &rows, tables, size, height);
    if (taken && !make_ring(loops, &ring, &rows, loops->interleaved, pad_row(loops, line))) {
        PyErr_NoMemory();
        taken = 0;
    }
    if (taken) {
        Py_BEGIN_ALLOW_THREADS
        weigh_lines(loops, pixels.buf, height, line, &rows, &ring, out.buf);
        Py_END_ALLOW_THREADS
    }
    free_axis(&rows);
    free_ring(&ring);
    PyBuffer_Release(&out);
    PyBuffer_Release(&pixels);
    return taken ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef methods[] = {
    {"use", use, METH_O, "Take instructions up to a level."},
    {"level", current_level, METH_NOARGS, "Return the level of instructions that are taken."},
    {"resize", resize, METH_VARARGS, "Resize an image to squares."},
    {"resize_lines", resize_lines, METH_VARARGS, "Resize lines vertically."},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module)
{
    (void)module;
    make_tables();
    level = best_level();
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, prepare}, {0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_core", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
