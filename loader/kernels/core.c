/* The loops that fill a batch, for `loader.kernels.core`, which says what each takes.

   Every shape and bound is looked at here, before the interpreter is released and a loop runs. */

#include "arguments.h"
#include "level.h"
#include "processor.h"
#include "row_codecs.h"

#include "crc32c.h"
#include "mask_reading.h"
#include "packing.h"
#include "scale.h"

enum {
    LINE = 64,    /* bytes of a cache line */
    FLOATS = 16,  /* float32 values of one */
    AHEAD = 2048, /* bytes that are asked for before they are read: the processor itself stops at the end of each page */
    CHECKSUM_BYTES = 4,
    COLUMNS = 64, /* of a mask at its own size that are written at once: each has a bit of a word */
    STREAMED = 1 << 26, /* bytes of such masks in one call from which on they are cleared past the caches: fewer may fit */
};

enum { LEFT, DONE, DAMAGED }; /* what became of a row */

#if HAS_LEVELS

static inline int64_t bytes_to_line(const void *out, int64_t count)
{
    int64_t head = (int64_t)(-(uintptr_t)out % LINE);
    return head < count ? head : count;
}

static inline int64_t floats_to_line(const float *out, int64_t count)
{
    int64_t head = (int64_t)(-(uintptr_t)out % LINE / sizeof(float));
    return head < count ? head : count;
}

#endif

/* Lets every streamed line arrive in memory before anything that is stored later: another thread is told of it. */
static inline void finish_lines(void)
{
#if HAS_LEVELS
    _mm_sfence();
#endif
}

/* The loops, once for each level. */

#define LEVEL(name) JOIN_NAMES(name, plain)
#define HAS_AVX2 0
#define HAS_AVX512 0
#include "lines.h"
#include "mask_frames.h"
#include "mask_runs.h"
#include "packed_images.h"
#undef LEVEL
#undef HAS_AVX2
#undef HAS_AVX512

#if HAS_LEVELS

BEGIN_TARGET(AVX2_TARGET)
#define LEVEL(name) JOIN_NAMES(name, avx2)
#define HAS_AVX2 1
#define HAS_AVX512 0
#include "lines.h"
#include "mask_frames.h"
#include "mask_runs.h"
#include "packed_images.h"
#undef LEVEL
#undef HAS_AVX2
#undef HAS_AVX512
END_LEVEL

BEGIN_TARGET(AVX512_TARGET)
#define LEVEL(name) JOIN_NAMES(name, avx512)
#define HAS_AVX2 1
#define HAS_AVX512 1
#include "lines.h"
#include "mask_frames.h"
#include "mask_runs.h"
#include "packed_images.h"
#undef LEVEL
#undef HAS_AVX2
#undef HAS_AVX512
END_LEVEL

#endif

typedef struct {
    uint32_t (*add_bytes)(uint32_t, const uint8_t *, int64_t);
    void (*copy)(const uint8_t *restrict, uint8_t *restrict, int64_t);
    uint32_t (*copy_checked)(uint32_t, const uint8_t *restrict, uint8_t *restrict, int64_t);
    uint32_t (*normalize_image)(uint32_t, const uint8_t *, float *, const Shape *, const Scale *, int);
    void (*widen)(const uint8_t *restrict, float *restrict, int64_t);
    void (*widen_bits)(const uint8_t *restrict, float *restrict, int64_t);
    int (*expand)(const uint8_t *, int64_t, Row *);
    void (*clear_mask)(uint8_t *, int64_t);
    int (*expand_runs)(const uint8_t *, int64_t, int64_t, int64_t, uint64_t *, uint8_t *);
    int (*unpack)(const Packed *, Lines *, void *, const Scale *, uint32_t *);
} Loops;

#define LOOPS(level)                                                                                        \
    {                                                                                                       \
        add_bytes_##level, copy_##level, copy_checked_##level, normalize_image_##level, widen_##level,      \
            widen_bits_##level, expand_##level, clear_mask_##level, expand_runs_##level, unpack_##level     \
    }

static const Loops LOOPS_OF[NUM_LEVELS] = {
    LOOPS(plain),
#if HAS_LEVELS
    LOOPS(avx2),
    LOOPS(avx512),
#endif
};

/* A stored row: its bytes, without the checksum that follows them. */
typedef struct {
    const uint8_t *bytes;
    int64_t size;
} Stored;

/* What is made of stored rows; `loader.kernels.core.Action` has the same numbers. */
enum { COPY, NORMALIZE, EXPAND, EXPAND_TO_BITS, UNPACK, UNPACK_AND_NORMALIZE, NUM_ACTIONS };

/* The rows of one call, where they go, and what making them takes. */
typedef struct {
    int action, is_checked;
    Py_ssize_t count, height, width;
    Py_ssize_t row_bytes; /* of a row of out */
    Py_buffer *files;     /* [count] */
    Stored *stored;       /* [count] */
    Py_buffer out;
    Scale scales[3]; /* of images that are normalised */
    Shape *shapes;   /* of images, [count] */
    Lines lines;     /* of images that are unpacked */
    uint8_t *pixels; /* a line of a mask */
} Rows;

static void release_rows(Rows *rows)
{
    for (Py_ssize_t i = 0; rows->files && i < rows->count; i++)
        PyBuffer_Release(&rows->files[i]);
    PyMem_Free(rows->files);
    PyMem_Free(rows->stored);
    PyBuffer_Release(&rows->out);
    free(rows->shapes);
    free(rows->lines.memory);
    free(rows->pixels);
}

/* Takes the rows that Python hands over; returns whether all of them are within their files. Else an exception is set. */
static int take_stored(Rows *rows, PyObject *files, const Py_buffer *spans)
{
    for (Py_ssize_t i = 0; i < rows->count; i++) {
        PyObject *file = PySequence_GetItem(files, i);
        int is_taken = file && take_buffer(file, &rows->files[i], READ, -1, "a file");
        Py_XDECREF(file);
        if (!is_taken)
            return 0;
        int64_t span[2];
        memcpy(span, (const char *)spans->buf + i * (Py_ssize_t)sizeof span, sizeof span);
        const int64_t length = rows->files[i].len;
        if (span[1] < CHECKSUM_BYTES || span[0] < 0 || span[0] > length || span[1] > length - span[0]) {
            PyErr_Format(PyExc_ValueError, "row %zd, %lld bytes at %lld, is not within its file of %lld bytes", i,
                         (long long)span[1], (long long)span[0], (long long)length);
            return 0;
        }
        const uint8_t *bytes = (const uint8_t *)rows->files[i].buf + span[0];
        rows->stored[i] = (Stored){bytes, span[1] - CHECKSUM_BYTES};
    }
    return 1;
}

/* Whether `out` holds float32 where they may be written; else an exception is set. */
static int has_floats(const Py_buffer *out)
{
    if ((uintptr_t)out->buf % sizeof(float) == 0)
        return 1;
    PyErr_SetString(PyExc_ValueError, "out is not aligned");
    return 0;
}

/* Whether each row has so many bytes; else an exception is set. */
static int have_bytes(const Rows *rows, int64_t size)
{
    for (Py_ssize_t i = 0; i < rows->count; i++)
        if (rows->stored[i].size != size) {
            PyErr_Format(PyExc_ValueError, "row %zd has %lld bytes, expected %lld", i, (long long)rows->stored[i].size,
                         (long long)size);
            return 0;
        }
    return 1;
}

/* What became of a row that was read whole, with this remainder. */
static char compare(const Rows *rows, const Stored *stored, uint32_t crc)
{
    if (!rows->is_checked)
        return DONE;
    /* The lowest byte first. Read only now: of a file that shrank, nothing is touched before its row is. */
    const uint8_t *bytes = stored->bytes + stored->size;
    uint32_t expected = bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    return ~crc == expected ? DONE : DAMAGED;
}

/* How many values an image has; -1 where there is no such image. */
static Py_ssize_t num_values(Py_ssize_t height, Py_ssize_t width)
{
    const Py_ssize_t most = 1 << 24;
    return width > 0 && height > 0 && width <= most && height <= most ? 3 * height * width : -1;
}

/* Takes float32 [7]: three means, three standard deviations, and what levels are divided by first. */
static int take_scales(PyObject *norm, Scale *scales)
{
    Py_buffer numbers;
    float values[7];
    if (!take_buffer(norm, &numbers, READ, sizeof values, "norm"))
        return 0;
    memcpy(values, numbers.buf, sizeof values);
    PyBuffer_Release(&numbers);
    for (int channel = 0; channel < 3; channel++)
        scales[channel] = make_scale(values[6], values[channel], values[3 + channel]);
    return 1;
}

/* Returns the shapes of images of one size, to be freed: all picture where `shown` is None, else int64 [count, 2] says the
   height and width of what is. NULL where it does not; then an exception is set. */
static Shape *take_shapes(PyObject *shown, Py_ssize_t count, Py_ssize_t height, Py_ssize_t width)
{
    Py_buffer sizes = {0};
    if (shown != Py_None && !take_buffer(shown, &sizes, READ, times(count, 16), "shown"))
        return NULL;
    Shape *shapes = calloc((size_t)count + 1, sizeof *shapes);
    if (!shapes)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; shapes && i < count; i++) {
        int64_t size[2] = {height, width};
        if (sizes.buf)
            memcpy(size, (const char *)sizes.buf + i * (Py_ssize_t)sizeof size, sizeof size);
        shapes[i] = (Shape){height, width, size[0], size[1]};
        if (size[0] < 0 || size[0] > height || size[1] < 0 || size[1] > width) {
            PyErr_Format(PyExc_ValueError, "%lld x %lld pixels can't be shown in %zd x %zd", (long long)size[0],
                         (long long)size[1], height, width);
            free(shapes);
            shapes = NULL;
        }
    }
    PyBuffer_Release(&sizes);
    return shapes;
}

/* How many bytes of `out` a row takes; -1 where there is no such row. */
static Py_ssize_t bytes_of_row(const Rows *rows)
{
    switch (rows->action) {
    case COPY:
        return rows->count ? rows->stored[0].size : 0;
    case EXPAND:
        return rows->width > 0 ? times(rows->height, times(rows->width, sizeof(float))) : -1;
    case EXPAND_TO_BITS:
        return rows->width > 0 ? times(rows->height, rows->width / 8 + (rows->width % 8 > 0)) : -1;
    case UNPACK:
        return num_values(rows->height, rows->width);
    default:
        return times(num_values(rows->height, rows->width), sizeof(float));
    }
}

/* Takes the memory that making rows needs; returns whether there is so much. Else an exception is set. */
static int take_memory(Rows *rows)
{
    int is_taken = 1;
    if (rows->action == EXPAND || rows->action == EXPAND_TO_BITS)
        is_taken = (rows->pixels = calloc((size_t)rows->width, 1)) != NULL;
    else if (rows->action == UNPACK || rows->action == UNPACK_AND_NORMALIZE)
        is_taken = take_lines(&rows->lines, rows->height, rows->width);
    if (!is_taken)
        PyErr_NoMemory();
    return is_taken;
}

/* Takes what Python hands over, to be released in any case; returns whether all of it fits. Else an exception is set. */
static int take_rows(Rows *rows, PyObject *files, PyObject *spans, PyObject *out, PyObject *norm, PyObject *shown)
{
    const int action = rows->action, is_normalized = action == NORMALIZE || action == UNPACK_AND_NORMALIZE;
    Py_buffer places;
    if (action < 0 || action >= NUM_ACTIONS) {
        PyErr_SetString(PyExc_ValueError, "there is no such action");
        return 0;
    }
    rows->count = PySequence_Size(files);
    if (rows->count < 0 || !take_buffer(spans, &places, READ, times(rows->count, 16), "spans"))
        return 0;
    rows->files = PyMem_Calloc((size_t)rows->count, sizeof *rows->files);
    rows->stored = PyMem_Calloc((size_t)rows->count, sizeof *rows->stored);
    if (!rows->files || !rows->stored)
        PyErr_NoMemory();
    const int is_taken = rows->files && rows->stored && take_stored(rows, files, &places);
    PyBuffer_Release(&places);
    if (!is_taken)
        return 0;
    rows->row_bytes = bytes_of_row(rows);
    const Py_ssize_t size = times(rows->count, rows->row_bytes);
    if (size < 0) {
        PyErr_SetString(PyExc_ValueError, "the shape of a row is too large, or negative");
        return 0;
    }
    if (!take_buffer(out, &rows->out, WRITE, size, "out") || ((is_normalized || action == EXPAND) && !has_floats(&rows->out)))
        return 0;
    if (action == COPY && !have_bytes(rows, rows->row_bytes))
        return 0;
    if (action == NORMALIZE && !have_bytes(rows, num_values(rows->height, rows->width)))
        return 0;
    if (is_normalized && !take_scales(norm, rows->scales))
        return 0;
    if (is_normalized || action == UNPACK) {
        rows->shapes = take_shapes(is_normalized ? shown : Py_None, rows->count, rows->height, rows->width);
        if (!rows->shapes)
            return 0;
    }
    return take_memory(rows);
}

/* Makes one row; returns what became of it. */
static char fill_row(Rows *rows, Py_ssize_t number)
{
    const Loops *loops = &LOOPS_OF[level];
    const Stored *stored = &rows->stored[number];
    uint8_t *out = (uint8_t *)rows->out.buf + number * rows->row_bytes;
    uint32_t crc = ~0u;
    switch (rows->action) {
    case COPY:
        if (rows->is_checked)
            crc = loops->copy_checked(crc, stored->bytes, out, stored->size);
        else
            loops->copy(stored->bytes, out, stored->size);
        return compare(rows, stored, crc);
    case NORMALIZE:
        crc = loops->normalize_image(crc, stored->bytes, (float *)out, &rows->shapes[number], rows->scales,
                                     rows->is_checked);
        return compare(rows, stored, crc);
    case EXPAND:
    case EXPAND_TO_BITS: {
        Row row = {.pixels = rows->pixels, .width = rows->width, .size = rows->height * rows->width};
        if (rows->action == EXPAND)
            row.floats = (float *)out;
        else
            row.bits = out;
        /* A frame is small: its sum comes first, and nothing is made of a damaged one. */
        if (rows->is_checked && compare(rows, stored, loops->add_bytes(crc, stored->bytes, stored->size)) == DAMAGED)
            return DAMAGED;
        return loops->expand(stored->bytes, stored->size, &row) ? DONE : LEFT;
    }
    default: {
        const Packed packed = {stored->bytes, stored->size, rows->shapes[number]};
        const Scale *scales = rows->action == UNPACK ? NULL : rows->scales;
        if (!loops->unpack(&packed, &rows->lines, out, scales, rows->is_checked ? &crc : NULL))
            return LEFT;
        return compare(rows, stored, crc);
    }
    }
}

static PyObject *fill_rows(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *files, *spans, *out, *norm, *shown, *done = NULL;
    Rows rows = {0};
    if (!PyArg_ParseTuple(arguments, "iOOOnnOOp", &rows.action, &files, &spans, &out, &rows.height, &rows.width, &norm,
                          &shown, &rows.is_checked))
        return NULL;
    if (take_rows(&rows, files, spans, out, norm, shown))
        done = PyBytes_FromStringAndSize(NULL, rows.count);
    if (done) {
        char *states = PyBytes_AsString(done);
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < rows.count; i++)
            states[i] = fill_row(&rows, i);
        finish_lines();
        Py_END_ALLOW_THREADS
    }
    release_rows(&rows);
    return done;
}

static PyObject *normalize(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *images, *norm, *shown, *out;
    Py_ssize_t height, width;
    Py_buffer in, target;
    Scale scales[3];
    if (!PyArg_ParseTuple(arguments, "OOOOnn", &images, &norm, &shown, &out, &height, &width) || !take_scales(norm, scales))
        return NULL;
    const Py_ssize_t values = num_values(height, width);
    if (!take_buffer(images, &in, READ, -1, "images"))
        return NULL;
    const Py_ssize_t count = values > 0 ? in.len / values : 0;
    int is_taken = 0;
    Shape *shapes = NULL;
    if (values < 0 || in.len % values)
        PyErr_SetString(PyExc_ValueError, "images are not of three channels of such a size");
    else
        is_taken = take_buffer(out, &target, WRITE, times(in.len, sizeof(float)), "out");
    if (is_taken && has_floats(&target) && (shapes = take_shapes(shown, count, height, width))) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++)
            LOOPS_OF[level].normalize_image(0, (const uint8_t *)in.buf + i * values, (float *)target.buf + i * values,
                                            &shapes[i], scales, 0);
        finish_lines();
        Py_END_ALLOW_THREADS
    }
    free(shapes);
    if (is_taken)
        PyBuffer_Release(&target);
    PyBuffer_Release(&in);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *widen(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *pixels, *out;
    Py_buffer in, target;
    if (!PyArg_ParseTuple(arguments, "OO", &pixels, &out) || !take_buffer(pixels, &in, READ, -1, "pixels"))
        return NULL;
    if (take_buffer(out, &target, WRITE, times(in.len, sizeof(float)), "out")) {
        if (has_floats(&target)) {
            Py_BEGIN_ALLOW_THREADS
            LOOPS_OF[level].widen(in.buf, target.buf, in.len);
            finish_lines();
            Py_END_ALLOW_THREADS
        }
        PyBuffer_Release(&target);
    }
    PyBuffer_Release(&in);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *widen_bits(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *packed, *out;
    Py_ssize_t width;
    Py_buffer in, target;
    if (!PyArg_ParseTuple(arguments, "OOn", &packed, &out, &width) || !take_buffer(packed, &in, READ, -1, "packed"))
        return NULL;
    const Py_ssize_t line = width / 8 + (width % 8 > 0);
    int is_taken = 0;
    if (width <= 0 || in.len % line)
        PyErr_SetString(PyExc_ValueError, "packed is not of whole rows of so many pixels");
    else
        is_taken = take_buffer(out, &target, WRITE, times(times(in.len / line, width), sizeof(float)), "out");
    if (is_taken && has_floats(&target)) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < in.len / line; row++)
            LOOPS_OF[level].widen_bits((const uint8_t *)in.buf + row * line, (float *)target.buf + row * width, width);
        finish_lines();
        Py_END_ALLOW_THREADS
    }
    if (is_taken)
        PyBuffer_Release(&target);
    PyBuffer_Release(&in);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* A mask of run lengths, and where it goes. */
typedef struct {
    Py_buffer runs;
    int64_t height, width, start;
} Mask;

static void release_masks(Mask *masks, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; masks && i < count; i++)
        PyBuffer_Release(&masks[i].runs);
    PyMem_Free(masks);
}

/* Takes a mask; returns whether its runs are whole numbers and it lies within `size` bytes. Else an exception is set. */
static int take_mask(Mask *mask, PyObject *all_runs, Py_ssize_t number, const Py_buffer *places, Py_ssize_t size)
{
    PyObject *runs = PySequence_GetItem(all_runs, number);
    int is_taken = runs && take_buffer(runs, &mask->runs, READ, -1, "runs");
    Py_XDECREF(runs);
    if (!is_taken)
        return 0;
    int64_t place[3];
    memcpy(place, (const char *)places->buf + number * (Py_ssize_t)sizeof place, sizeof place);
    mask->height = place[0], mask->width = place[1], mask->start = place[2];
    const Py_ssize_t pixels = place[0] > 0 && place[1] > 0 ? times(place[0], place[1]) : -1;
    if (mask->runs.len % 4 || pixels < 0) {
        PyErr_SetString(PyExc_ValueError, "runs are not whole numbers, or there is no mask of such a size");
        return 0;
    }
    if (place[2] < 0 || place[2] > size || pixels > size - place[2]) {
        PyErr_Format(PyExc_ValueError, "mask %zd is not within the %zd bytes of out", number, size);
        return 0;
    }
    return 1;
}

/* Takes all masks, to be released; NULL where one of them can't be taken, and an exception is set. */
static Mask *take_masks(PyObject *runs, Py_ssize_t count, const Py_buffer *places, Py_ssize_t size)
{
    Mask *masks = PyMem_Calloc((size_t)count + 1, sizeof *masks);
    if (!masks)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; masks && i < count; i++)
        if (!take_mask(&masks[i], runs, i, places, size)) {
            release_masks(masks, count);
            masks = NULL;
        }
    return masks;
}

/* Writes masks one after the other; returns how many, up to the first whose runs do not fill it. */
static Py_ssize_t write_masks(const Mask *masks, Py_ssize_t count, uint64_t *changes, uint8_t *out, int is_zero)
{
    int64_t pixels = 0;
    for (Py_ssize_t i = 0; i < count; i++)
        pixels += masks[i].height * masks[i].width;
    for (Py_ssize_t i = 0; i < count; i++) {
        const Mask *mask = &masks[i];
        const int64_t size = mask->height * mask->width;
        if (!is_zero && pixels >= STREAMED)
            LOOPS_OF[level].clear_mask(out + mask->start, size);
        else if (!is_zero)
            memset(out + mask->start, 0, (size_t)size);
        if (!LOOPS_OF[level].expand_runs(mask->runs.buf, mask->runs.len / 4, mask->height, mask->width, changes,
                                         out + mask->start))
            return i;
    }
    return count;
}

static PyObject *expand_runs(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *runs, *places, *out;
    int is_zero;
    Py_buffer spans, target;
    if (!PyArg_ParseTuple(arguments, "OOOp", &runs, &places, &out, &is_zero))
        return NULL;
    const Py_ssize_t count = PySequence_Size(runs);
    if (count < 0 || !take_buffer(places, &spans, READ, times(count, 24), "places"))
        return NULL;
    if (!take_buffer(out, &target, WRITE, -1, "out")) {
        PyBuffer_Release(&spans);
        return NULL;
    }
    Mask *masks = take_masks(runs, count, &spans, target.len);
    Py_ssize_t num_written = 0;
    if (masks) {
        int64_t height = 0;
        for (Py_ssize_t i = 0; i < count; i++)
            height = masks[i].height > height ? masks[i].height : height;
        uint64_t *changes = calloc((size_t)height + 1, sizeof *changes);
        if (changes) {
            Py_BEGIN_ALLOW_THREADS
            num_written = write_masks(masks, count, changes, target.buf, is_zero);
            Py_END_ALLOW_THREADS
        } else
            PyErr_NoMemory();
        free(changes);
    }
    release_masks(masks, count);
    PyBuffer_Release(&target);
    PyBuffer_Release(&spans);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(num_written);
}

static PyMethodDef methods[] = {
    {"fill_rows", fill_rows, METH_VARARGS, NULL},
    {"expand_runs", expand_runs, METH_VARARGS, NULL},
    {"normalize", normalize, METH_VARARGS, NULL},
    {"widen", widen, METH_VARARGS, NULL},
    {"widen_bits", widen_bits, METH_VARARGS, NULL},
    {"use", use, METH_O, NULL},
    {"level", current_level, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module)
{
    (void)module;
    /* Each interpreter of a process makes a module, and so does each new import: of tables there is one set, which is in use. */
    static int is_prepared;
    if (is_prepared)
        return 0;
    is_prepared = 1;
    make_tables();
    make_steps(LL_STEPS, &LITERAL_LENGTHS);
    make_steps(ML_STEPS, &MATCH_LENGTHS);
    make_steps(OF_STEPS, &OFFSETS);
    make_crc_tables();
    make_packing_tables();
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
