/* The loops that a conversion spends its time in, for `preprocess.kernels.core`, which says what each takes.

   Every shape and bound is looked at here, before the interpreter is released and a loop runs. */

#include "arguments.h"
#include "gradient.h"
#include "level.h"
#include "mask_frames.h"
#include "processor.h"
#include "resample.h"
#include "row_codecs.h"
#include "runs.h"

/* Run lengths, mask frames, compact images. */

static Numbers numbers_of(const Py_buffer *view)
{
    return (Numbers){view->buf, view->len / 8};
}

/* Room for so many items, zero. There is some for none as well. */
static void *take_room(Py_ssize_t count, size_t size)
{
    void *room = count < 0 ? NULL : calloc((size_t)count + 1, size);
    if (!room)
        PyErr_NoMemory();
    return room;
}

/* None, or as an exception why runs could not be taken. */
static PyObject *none_unless(const char *fault)
{
    if (!fault)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, fault);
    return NULL;
}

static PyObject *py_sample_runs(PyObject *self, PyObject *arguments)
{
    (void)self;
    Py_ssize_t height, width;
    Py_buffer runs, rows, columns, out;
    if (!PyArg_ParseTuple(arguments, "y*nny*y*w*", &runs, &height, &width, &rows, &columns, &out))
        return NULL;
    PyObject *done = NULL;
    int32_t *first_sample = NULL;
    uint64_t *changes = NULL;
    if (times(height, width) < 0 || rows.len / 8 >= INT32_MAX || out.len != times(rows.len / 8, columns.len / 8)) {
        PyErr_SetString(PyExc_ValueError, "height x width must be a number, and out rows x columns");
    } else if ((first_sample = take_room(height, sizeof *first_sample)) &&
               (changes = take_room(rows.len / 8, sizeof *changes))) {
        const char *fault;
        Py_BEGIN_ALLOW_THREADS
        fault = sample_runs(numbers_of(&runs), height, width, numbers_of(&rows), numbers_of(&columns), first_sample,
                            changes, out.buf);
        Py_END_ALLOW_THREADS
        done = none_unless(fault);
    }
    free(first_sample);
    free(changes);
    PyBuffer_Release(&runs), PyBuffer_Release(&rows), PyBuffer_Release(&columns), PyBuffer_Release(&out);
    return done;
}

/* Whether no length of an axis, nor a place on it, is too large for its sums to be numbers. */
static int is_sane(const Cells *axis)
{
    const Py_ssize_t limit = PY_SSIZE_T_MAX / 4, pixels = times(axis->length, axis->pixel),
                     cells = times(axis->size, axis->cell);
    return axis->length > 0 && axis->pixel > 0 && axis->size > 0 && axis->cell > 0 && pixels > 0 && pixels < limit &&
           cells > 0 && cells < limit && axis->start < limit && axis->start > -limit;
}

static PyObject *py_cover_runs(PyObject *self, PyObject *arguments)
{
    (void)self;
    Py_ssize_t down[5], across[5], least;
    Py_buffer runs, out;
    if (!PyArg_ParseTuple(arguments, "y*(nnnnn)(nnnnn)nw*", &runs, &down[0], &down[1], &down[2], &down[3], &down[4],
                          &across[0], &across[1], &across[2], &across[3], &across[4], &least, &out))
        return NULL;
    const Cells rows = {down[0], down[1], down[2], down[3], down[4]};
    const Cells columns = {across[0], across[1], across[2], across[3], across[4]};
    PyObject *done = NULL;
    int64_t *covered = NULL;
    if (!is_sane(&rows) || !is_sane(&columns) || times(2, times(rows.cell, columns.cell)) < 0 ||
        times(rows.length, columns.length) < 0 || least < 1 || out.len != times(rows.size, columns.size)) {
        PyErr_SetString(PyExc_ValueError, "lengths must be at least 1, areas numbers, and out rows x columns");
    } else if ((covered = take_room(rows.size, sizeof *covered))) {
        const char *fault;
        Py_BEGIN_ALLOW_THREADS
        fault = cover_runs(numbers_of(&runs), &rows, &columns, least, covered, out.buf);
        Py_END_ALLOW_THREADS
        done = none_unless(fault);
    }
    free(covered);
    PyBuffer_Release(&runs), PyBuffer_Release(&out);
    return done;
}

static PyObject *py_decompress_counts(PyObject *self, PyObject *arguments)
{
    (void)self;
    Py_buffer counts, runs;
    if (!PyArg_ParseTuple(arguments, "y*w*", &counts, &runs))
        return NULL;
    int64_t found = -1;
    if (runs.len / 8 < counts.len) {
        PyErr_SetString(PyExc_ValueError, "runs must be as many as counts has characters");
    } else {
        Py_BEGIN_ALLOW_THREADS
        found = decompress_counts(counts.buf, counts.len, runs.buf);
        Py_END_ALLOW_THREADS
        if (found < 0)
            PyErr_SetString(PyExc_ValueError, "the counts are damaged");
    }
    PyBuffer_Release(&counts), PyBuffer_Release(&runs);
    return found < 0 ? NULL : PyLong_FromLongLong(found);
}

/* The frame of a mask of fewer than 2**32 pixels; None where there is no good one. */
static PyObject *make_frame(const uint8_t *pixels, int64_t size, int64_t width, int64_t most)
{
    PyObject *done = NULL;
    Encoder *encoder = malloc(sizeof *encoder);
    uint32_t *changes = malloc((size_t)(most + COMPARED) * sizeof *changes);
    uint8_t *frame = malloc((size_t)frame_bound(size));
    if (encoder && changes && frame) {
        int64_t used = 0;
        Py_BEGIN_ALLOW_THREADS
        int64_t found = find_changes(pixels, size, width, most, changes);
        if (found <= most)
            used = write_frame(pixels, size, width, changes, found, encoder, frame);
        Py_END_ALLOW_THREADS
        done = used ? PyBytes_FromStringAndSize((char *)frame, (Py_ssize_t)used) : Py_NewRef(Py_None);
    } else {
        PyErr_NoMemory();
    }
    free(encoder);
    free(changes);
    free(frame);
    return done;
}

static PyObject *py_make_frame(PyObject *self, PyObject *arguments)
{
    (void)self;
    Py_buffer mask;
    Py_ssize_t width, most_changes;
    if (!PyArg_ParseTuple(arguments, "y*nn", &mask, &width, &most_changes))
        return NULL;
    PyObject *done = NULL;
    if (width < SHORTEST || width > WINDOW || mask.len < width || mask.len % width || mask.len > UINT32_MAX)
        PyErr_SetString(PyExc_ValueError, "mask must be rows of 6 to 2**23 pixels, fewer than 2**32 together");
    else if (most_changes < 0 || most_changes > mask.len)
        PyErr_SetString(PyExc_ValueError, "no less than 0 pixels, and no more than there are, can differ");
    else
        done = make_frame(mask.buf, mask.len, width, width + most_changes);
    PyBuffer_Release(&mask);
    return done;
}

/* How many bytes an image may take packed, -1 for no number: of two groups a byte for their numbers of bits, and eight
   for each. */
static Py_ssize_t packed_bound(Py_ssize_t height, Py_ssize_t width)
{
    if (width < 1 || width > PY_SSIZE_T_MAX / 4)
        return -1;
    Py_ssize_t groups = times(1 + 2 * GROUP, times(height, pairs_of_row(width)));
    return groups < 0 || groups > PY_SSIZE_T_MAX - SLACK_BYTES ? -1 : groups + SLACK_BYTES;
}

static PyObject *py_pack_image(PyObject *self, PyObject *arguments)
{
    (void)self;
    Py_buffer image, out;
    Py_ssize_t height, width;
    if (!PyArg_ParseTuple(arguments, "y*nnw*", &image, &height, &width, &out))
        return NULL;
    int64_t used = -1;
    uint8_t *line = NULL, *values = NULL;
    Py_ssize_t bound = packed_bound(height, width);
    if (height < 1 || bound < 0 || image.len != times(3, times(height, width))) {
        PyErr_SetString(PyExc_ValueError, "image must be uint8 [3, height, width], of at least one pixel");
    } else if (out.len < bound) {
        PyErr_Format(PyExc_ValueError, "out must have the %zd bytes that an image may take", bound);
    } else if ((line = take_room(width, 1)) && (values = take_room(pairs_of_row(width), 2 * GROUP))) {
        Py_BEGIN_ALLOW_THREADS
        used = pack_image(image.buf, height, width, line, values, out.buf);
        Py_END_ALLOW_THREADS
    }
    free(line);
    free(values);
    PyBuffer_Release(&image), PyBuffer_Release(&out);
    return used < 0 ? NULL : PyLong_FromLongLong(used);
}

/* Resizing. */

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

/* Takes (height, width, out height, out width, columns, column weights, rows, row weights, out). */
static int take_target(const ResampleLoops *loops, Target *target, PyObject *given, Py_ssize_t height, Py_ssize_t width,
                       Py_buffer *out)
{
    AxisTables columns, rows;
    PyObject *written;
    Py_ssize_t made_height, made_width, out_height, out_width;
    if (!PyTuple_Check(given)) {
        PyErr_SetString(PyExc_ValueError, "a target must be a tuple");
        return 0;
    }
    if (!PyArg_ParseTuple(given, "nnnnOOOOO", &made_height, &made_width, &out_height, &out_width, &columns.first,
                          &columns.weights, &rows.first, &rows.weights, &written))
        return 0;
    if (made_height < 1 || made_width < 1 || made_height > out_height || made_width > out_width ||
        times(3, times(out_height, out_width)) < 0) {
        PyErr_Format(PyExc_ValueError, "no size of what is made of an image, or of out: %zd x %zd in %zd x %zd",
                     made_height, made_width, out_height, out_width);
        return 0;
    }
    if (!take_buffer(written, out, WRITE, times(3, times(out_height, out_width)), "out") ||
        !take_axis(loops, &target->columns, columns, made_width, width) ||
        !take_axis(loops, &target->rows, rows, made_height, height))
        return 0;
    target->out = out->buf;
    target->out_height = out_height;
    target->out_width = out_width;
    target->padded = pad_row(loops, made_width);
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
    {"sample_runs", py_sample_runs, METH_VARARGS, "Write a mask at a grid of pixels."},
    {"cover_runs", py_cover_runs, METH_VARARGS, "Write which cells a mask covers."},
    {"decompress_counts", py_decompress_counts, METH_VARARGS, "Write the runs of compressed counts."},
    {"make_frame", py_make_frame, METH_VARARGS, "Return a mask as a Zstandard frame, or None."},
    {"pack_image", py_pack_image, METH_VARARGS, "Write an image packed."},
    {"resize", resize, METH_VARARGS, "Resize an image to several sizes."},
    {"resize_lines", resize_lines, METH_VARARGS, "Resize lines vertically."},
    {"use", use, METH_O, "Take instructions up to a level."},
    {"level", current_level, METH_NOARGS, "Return the level of instructions that are taken."},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module)
{
    (void)module;
    /* As in the loader's core: of tables there is one set, which may be in use. */
    static int is_prepared;
    if (is_prepared)
        return 0;
    is_prepared = 1;
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
