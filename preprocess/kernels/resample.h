/* Pillow's resampling of 8-bit images, bit for bit (libImaging/Resample.c); its rules are in
   `preprocess.tensors.resample`.

   Sixteen rows at a time are turned: of each column of pixels come sixteen bytes of R, of G, and of B, so that a
   weighted sum of columns is one of vectors, as is the vertical pass over planar rows. Rows that went through the
   horizontal pass wait in a ring, just as long as the vertical pass needs them, and the result is planar. */

#ifndef RESIZEONCE_RESAMPLE_H
#define RESIZEONCE_RESAMPLE_H

#include "resample_loops.h"

#include <stdlib.h>

enum { MOST_TARGETS = 16 };

/* Lines that wait for the vertical pass, each of `interleaved` rows. */
typedef struct {
    int64_t num_lines, line_bytes;
    uint8_t *memory;
    const uint8_t **window; /* the lines that make an output row */
} Ring;

/* One resized image, which is written to the top left corner of `out`, uint8 [3, out_height, out_width]. */
typedef struct {
    Axis columns, rows;
    Ring ring;
    int64_t padded;   /* columns of a waiting row: whole vectors */
    int64_t finished; /* output rows */
    int64_t out_height, out_width;
    uint8_t *out;
} Target;

static void free_axis(Axis *axis)
{
    free(axis->first);
    free(axis->used);
    free(axis->weights);
}

static void free_ring(Ring *ring)
{
    free(ring->memory);
    free(ring->window);
}

static void free_target(Target *target)
{
    free_axis(&target->columns);
    free_axis(&target->rows);
    free_ring(&target->ring);
}

/* Takes the tables of an axis, int64 [size] and int32 [size, taps], in the form that a level needs them.

   Returns 1; 0 where there is no memory; -1 where a window begins before the one above it or leaves the `length`
   pixels, or where a weight is too large. `axis` is to be freed in each case. */
static int make_axis(const ResampleLoops *loops, Axis *axis, const char *first, const char *weights, int64_t size,
                     int64_t taps, int64_t length)
{
    axis->size = size;
    axis->first = calloc((size_t)size, sizeof *axis->first);
    axis->used = calloc((size_t)size, sizeof *axis->used);
    if (!axis->first || !axis->used)
        return 0;
    for (int64_t i = 0, before = 0; i < size; i++) {
        int64_t start, groups;
        memcpy(&start, first + 8 * i, 8);
        if (start < before || start > length - taps)
            return -1;
        before = axis->first[i] = start;
        groups = ((start & (loops->interleaved - 1)) + taps + (1 << loops->log_taps) - 1) >> loops->log_taps;
        axis->groups = groups > axis->groups ? groups : axis->groups;
    }
    axis->weights = calloc((size_t)size, (size_t)(axis->groups * loops->digits) * sizeof *axis->weights);
    if (!axis->weights)
        return 0;
    for (int64_t i = 0; i < size; i++) {
        int32_t *groups = axis->weights + i * axis->groups * loops->digits;
        int64_t skipped = axis->first[i] & (loops->interleaved - 1);
        axis->first[i] -= skipped;
        axis->used[i] = loops->split(weights + 4 * i * taps, taps, skipped, groups);
        if (axis->used[i] < 0)
            return -1;
    }
    return 1;
}

/* A length in whole vectors. Lines that lie a power of two apart would compete for the same few places of the cache. */
static int64_t pad_row(const ResampleLoops *loops, int64_t bytes)
{
    int64_t padded = (bytes + loops->lanes - 1) / loops->lanes * loops->lanes;
    return padded * loops->interleaved % 1024 ? padded : padded + loops->lanes;
}

/* Returns whether there was memory for the windows of an axis, and `more` rows of `bytes` bytes each. */
static int make_ring(const ResampleLoops *loops, Ring *ring, const Axis *rows, int64_t more, int64_t bytes)
{
    int64_t window = (rows->groups << loops->log_taps) / loops->interleaved;
    ring->num_lines = window + more / loops->interleaved;
    ring->line_bytes = bytes * loops->interleaved;
    ring->memory = calloc((size_t)(ring->num_lines * loops->interleaved), (size_t)bytes);
    ring->window = calloc((size_t)window, sizeof *ring->window);
    return ring->memory && ring->window;
}

static uint8_t *ring_line(const Ring *ring, int64_t line)
{
    return ring->memory + line % ring->num_lines * ring->line_bytes;
}

/* How many source rows an output row waits for. Its last group may reach beyond the last of them, with weights of 0. */
static int64_t rows_needed(const ResampleLoops *loops, const Axis *rows, int64_t y, int64_t height)
{
    int64_t end = rows->first[y] + (rows->groups << loops->log_taps);
    return end < height ? end : height;
}

/* Finds the lines of an output row. */
static void open_window(const ResampleLoops *loops, const Ring *ring, const Axis *rows, int64_t y)
{
    for (int64_t line = 0; line < (rows->groups << loops->log_taps) / loops->interleaved; line++)
        ring->window[line] = ring_line(ring, rows->first[y] / loops->interleaved + line);
}

/* Makes `count` bytes of an output row from those that stand at `from` in the rows of the window. */
static void weigh_window(const ResampleLoops *loops, const Ring *ring, const Axis *rows, int64_t y, int64_t from,
                         int64_t count, uint8_t *out)
{
    const int32_t *weights = rows->weights + y * rows->groups * loops->digits;
    const int64_t vectors = count / loops->lanes, whole = vectors * loops->lanes;
    uint8_t last[MOST_LANES];
    loops->weigh_rows(ring->window, from * loops->interleaved, weights, rows->used[y], vectors, out);
    if (whole < count) {
        loops->weigh_rows(ring->window, (from + whole) * loops->interleaved, weights, rows->used[y], 1, last);
        memcpy(out + whole, last, (size_t)(count - whole));
    }
}

/* Turns sixteen rows; the last columns, beyond which nothing may be read, from a copy. */
static void turn_block(const ResampleLoops *loops, const uint8_t *const *rows, int64_t line, uint8_t *block)
{
    int64_t whole = line < LOADED_BYTES ? 0 : (line - LOADED_BYTES) / STEP_BYTES + 1, rest = line - whole * STEP_BYTES;
    uint8_t ends[BLOCK_ROWS][STEP_BYTES + LOADED_BYTES] = {{0}};
    const uint8_t *end_rows[BLOCK_ROWS];
    for (int row = 0; row < BLOCK_ROWS; row++) {
        memcpy(ends[row], rows[row] + whole * STEP_BYTES, (size_t)rest);
        end_rows[row] = ends[row];
    }
    loops->turn(rows, whole, block);
    loops->turn(end_rows, (rest + STEP_BYTES - 1) / STEP_BYTES, block + whole * STEP * loops->column_bytes);
}

/* Whether this block's rows are needed by any output row; rows above and below a crop are not. */
static int is_needed(const Target *target, int64_t top)
{
    return target->finished < target->rows.size && target->rows.first[0] < top + BLOCK_ROWS;
}

/* Takes in the turned rows from `top` on, and finishes every output row that now can be. */
static void advance(const ResampleLoops *loops, Target *target, const uint8_t *block, int64_t top, int64_t height)
{
    const int64_t size = target->rows.size, below = top + BLOCK_ROWS < height ? top + BLOCK_ROWS : height;
    uint8_t *lines[BLOCK_ROWS];
    for (int line = 0; line < BLOCK_ROWS / loops->interleaved; line++)
        lines[line] = ring_line(&target->ring, top / loops->interleaved + line);
    loops->weigh_columns(&target->columns, block, target->padded, lines);
    for (; target->finished < size; target->finished++) {
        int64_t y = target->finished;
        if (rows_needed(loops, &target->rows, y, height) > below)
            return;
        open_window(loops, &target->ring, &target->rows, y);
        for (int channel = 0; channel < 3; channel++)
            weigh_window(loops, &target->ring, &target->rows, y, channel * target->padded, target->columns.size,
                         target->out + (channel * target->out_height + y) * target->out_width);
    }
}

/* Resizes uint8 [height, width, 3] to each target. `block` is what `make_block` gives. */
static void resample(const ResampleLoops *loops, const uint8_t *pixels, int64_t height, int64_t width, uint8_t *block,
                     Target *targets, int num_targets)
{
    for (int64_t top = 0; top < height; top += BLOCK_ROWS) {
        const uint8_t *rows[BLOCK_ROWS];
        int needed = 0;
        for (int target = 0; target < num_targets; target++)
            needed |= is_needed(&targets[target], top);
        if (!needed)
            continue;
        /* Rows that the last block lacks are read as its last one; their weights are 0. */
        for (int64_t row = 0; row < BLOCK_ROWS; row++)
            rows[row] = pixels + (top + row < height ? top + row : height - 1) * 3 * width;
        turn_block(loops, rows, 3 * width, block);
        for (int target = 0; target < num_targets; target++)
            if (is_needed(&targets[target], top))
                advance(loops, &targets[target], block, top, height);
    }
}

/* Memory for sixteen turned rows. One step more: groups of the last columns may begin in the last but one. */
static uint8_t *make_block(const ResampleLoops *loops, int64_t width)
{
    return calloc((size_t)(width + STEP - 1) / STEP + 1, (size_t)(STEP * loops->column_bytes));
}

/* Resizes lines of `line` bytes vertically, whatever they hold, to `rows->size` of them. */
static void weigh_lines(const ResampleLoops *loops, const uint8_t *pixels, int64_t height, int64_t line,
                        const Axis *rows, const Ring *ring, uint8_t *out)
{
    int64_t taken = rows->first[0];
    for (int64_t y = 0; y < rows->size; y++) {
        for (; taken < rows_needed(loops, rows, y, height); taken += loops->interleaved) {
            const uint8_t *together[BLOCK_ROWS];
            for (int64_t row = taken; row < taken + loops->interleaved; row++)
                together[row - taken] = pixels + (row < height ? row : height - 1) * line;
            loops->interleave(together, line, ring_line(ring, taken / loops->interleaved));
        }
        open_window(loops, ring, rows, y);
        weigh_window(loops, ring, rows, y, 0, line, out + y * line);
    }
}

#endif
