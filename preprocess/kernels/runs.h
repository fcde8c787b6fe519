/* Masks from run lengths, without a bitmap of their full size: sampled on a grid, or averaged over cells.

   Runs go down the columns, background first, and fill the mask (cocodataset/cocoapi, common/maskApi.c). A result is
   exactly that of its plain counterpart in preprocess/decode/segmentation.py and preprocess/tensors/transforms.py. */

#ifndef RESIZEONCE_RUNS_H
#define RESIZEONCE_RUNS_H

#include <stdint.h>
#include <string.h>

enum {
    TILE = 64,       /* columns that are sampled at once: each has a bit of a word */
    MAX_GROUPS = 10, /* the most characters that one compressed number may have: 50 bits */
};

/* An array of int64; a buffer need not be aligned. */
typedef struct {
    const uint8_t *memory;
    int64_t count;
} Numbers;

static inline int64_t number_at(Numbers numbers, int64_t place)
{
    int64_t number;
    memcpy(&number, numbers.memory + 8 * place, 8);
    return number;
}

/* Whether no run is negative and all of them together are so many pixels, or else too many to be added up. */
static int fills(Numbers runs, int64_t pixels)
{
    if (pixels && runs.count > INT64_MAX / pixels)
        return 0;
    uint64_t sum = 0, wrong = 0;
    for (int64_t at = 0; at < runs.count; at++) {
        uint64_t run = (uint64_t)number_at(runs, at);
        /* The top bit of either: negative, or longer than the mask. */
        wrong |= run | ((uint64_t)pixels - run);
        sum += run;
    }
    return !(wrong >> 63) && sum == (uint64_t)pixels;
}

static const char *const NOT_FILLED = "runs must be >= 0, and together as many as the mask has pixels";

/* Whether positions are ascending within 0..length - 1; they may repeat. */
static int is_ascending(Numbers positions, int64_t length)
{
    int64_t least = 0;
    for (int64_t at = 0; at < positions.count; at++) {
        int64_t position = number_at(positions, at);
        if (position < least || position >= length)
            return 0;
        least = position;
    }
    return 1;
}

/* Of two runs, background and foreground, which begin at a pixel: the place of the first in the array. */
typedef struct {
    int64_t place, start;
} Pair;

/* Goes on to the pair that reaches into what begins at pixel `head`. */
static inline Pair reach(Numbers runs, Pair pair, int64_t head)
{
    while (pair.place + 1 < runs.count) {
        int64_t stop = pair.start + number_at(runs, pair.place) + number_at(runs, pair.place + 1);
        if (stop > head)
            break;
        pair.start = stop;
        pair.place += 2;
    }
    return pair;
}

/* Writes a byte, 0 or 1, for each of the lowest bits of a word. */
static inline void write_bits(uint64_t word, uint8_t *out, int64_t count)
{
    uint8_t bytes[TILE];
    for (int i = 0; i < TILE / 8; i++) {
        /* The eight bits in each byte, of which it keeps its own; 0x7F carries that one to the top. */
        uint64_t kept = (word >> 8 * i & 255) * 0x0101010101010101u & 0x8040201008040201u;
        uint64_t spread = (kept + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;
        memcpy(bytes + 8 * i, &spread, 8);
    }
    if (count == TILE)
        memcpy(out, bytes, TILE);
    else
        memcpy(out, bytes, (size_t)count);
}

/* Finds the first sample at or after each row of a mask: a stretch of rows is a stretch of samples. */
static void find_first_samples(Numbers rows, int64_t height, int32_t *first_sample)
{
    int64_t row = 0;
    for (int64_t sample = 0; sample < rows.count; sample++)
        for (int64_t until = number_at(rows, sample); row <= until; row++)
            first_sample[row] = (int32_t)sample;
    for (; row <= height; row++)
        first_sample[row] = (int32_t)rows.count;
}

/* Samples a mask at rows x columns; returns what is wrong with them, NULL for nothing.

   The result goes by rows and runs go by columns: of 64 columns at a time it is noted at which rows they change
   between background and foreground, a bit each; then one pass down the rows undoes that.

   `height` * `width` is a number. `first_sample`: [height + 1]. `changes`: zero, a word for each of the rows
   and one more. `out`: what is covered is written, the rest stays. */
static const char *sample_runs(Numbers runs, int64_t height, int64_t width, Numbers rows, Numbers columns,
                               int32_t *first_sample, uint64_t *changes, uint8_t *out)
{
    if (!is_ascending(rows, height) || !is_ascending(columns, width))
        return "positions must be ascending within the mask";
    if (!fills(runs, height * width))
        return NOT_FILLED;
    find_first_samples(rows, height, first_sample);
    int64_t num_rows = rows.count;
    Pair pair = {0, 0};
    for (int64_t left = 0; left < columns.count; left += TILE) {
        int64_t count = columns.count - left < TILE ? columns.count - left : TILE, top = num_rows, bottom = 0;
        for (int64_t x = 0; x < count; x++) {
            int64_t head = number_at(columns, left + x) * height;
            pair = reach(runs, pair, head);
            int64_t start = pair.start - head;
            for (int64_t at = pair.place; at + 1 < runs.count; at += 2) {
                int64_t from = start + number_at(runs, at), to = from + number_at(runs, at + 1);
                if (from >= height)
                    break;
                int64_t first = first_sample[from > 0 ? from : 0], stop = first_sample[to < height ? to : height];
                changes[first] ^= UINT64_C(1) << x;
                changes[stop] ^= UINT64_C(1) << x;
                top = first < top ? first : top;
                bottom = stop > bottom ? stop : bottom;
                start = to;
            }
        }
        uint64_t covered = 0;
        for (int64_t y = top; y < bottom; y++) {
            covered ^= changes[y];
            changes[y] = 0;
            if (covered)
                write_bits(covered, out + y * columns.count + left, count);
        }
        changes[bottom] = 0;
    }
    return NULL;
}

/* One axis of a grid of cells over a mask of `length` pixels. `pixel` and `cell` are their lengths, and `start` is where the
   first cell begins, counted from the mask's edge: all in units of which each has a whole number. */
typedef struct {
    int64_t length, size, pixel, cell, start;
} Cells;

/* Adds what one column of a mask, which begins at pixel `head`, covers of each cell in a column of cells.

   `pair` reaches into it. `share`: how much of its width lies in the cells. */
static void cover_column(Numbers runs, Pair pair, int64_t head, const Cells *rows, int64_t share, int64_t *covered)
{
    const int64_t begin = rows->start, end = begin + rows->size * rows->cell;
    for (int64_t at = pair.place, start = pair.start - head; at + 1 < runs.count; at += 2) {
        int64_t from = start + number_at(runs, at), to = from + number_at(runs, at + 1);
        if (from >= rows->length)
            break;
        int64_t first = (from > 0 ? from : 0) * rows->pixel, stop = (to < rows->length ? to : rows->length) * rows->pixel;
        first = first > begin ? first : begin;
        stop = stop < end ? stop : end;
        for (int64_t y = (first - begin) / rows->cell, top = begin + y * rows->cell; top < stop; y++, top += rows->cell) {
            int64_t bottom = top + rows->cell;
            covered[y] += share * ((stop < bottom ? stop : bottom) - (first > top ? first : top));
        }
        start = to;
    }
}

/* Marks the cells of which twice the covered area is at least `least`, or else the most covered one, the first by rows,
   if any is; returns what is wrong with the runs, NULL for nothing.

   Areas are in units of both axes: so they are whole numbers, and twice that of a cell is one, as are all lengths.
   `covered`: [rows->size]. `out`: [rows->size, columns->size]. */
static const char *cover_runs(Numbers runs, const Cells *rows, const Cells *columns, int64_t least, int64_t *covered,
                              uint8_t *out)
{
    const int64_t height = rows->length, width = columns->length, unit = columns->pixel;
    if (!fills(runs, height * width))
        return NOT_FILLED;
    int64_t most = 0, most_row = 0, most_column = 0;
    Pair pair = {0, 0};
    for (int64_t x = 0; x < columns->size; x++) {
        const int64_t left = columns->start + x * columns->cell, right = left + columns->cell;
        memset(covered, 0, (size_t)rows->size * sizeof *covered);
        for (int64_t column = left > 0 ? left / unit : 0; column < width && column * unit < right; column++) {
            pair = reach(runs, pair, column * height);
            if (pair.place + 1 >= runs.count)
                break;
            /* Background may take many columns. */
            int64_t foreground = pair.start + number_at(runs, pair.place);
            if (foreground >= (column + 1) * height) {
                column = foreground / height - 1;
                continue;
            }
            int64_t from = left > column * unit ? left : column * unit;
            int64_t to = right < (column + 1) * unit ? right : (column + 1) * unit;
            cover_column(runs, pair, column * height, rows, to - from, covered);
        }
        for (int64_t y = 0; y < rows->size; y++) {
            if (covered[y] > most || (covered[y] == most && most > 0 && y < most_row))
                most = covered[y], most_row = y, most_column = x;
            out[y * columns->size + x] = 2 * covered[y] >= least;
        }
    }
    if (most > 0 && 2 * most < least)
        out[most_row * columns->size + most_column] = 1;
    return NULL;
}

/* Fills `runs`, int64 [length], from COCO's compressed counts (rleFrString); returns how many there are, -1 where the
   counts are damaged or a run is negative. */
static int64_t decompress_counts(const uint8_t *counts, int64_t length, uint8_t *runs)
{
    int64_t found = 0, value = 0;
    int groups = 0;
    for (int64_t at = 0; at < length; at++) {
        int bits = counts[at] - 48;
        if (bits < 0 || bits > 63 || groups == MAX_GROUPS)
            return -1;
        value |= (int64_t)(bits & 31) << 5 * groups++;
        if (bits & 32)
            continue;
        value -= (int64_t)(bits >> 4 & 1) << 5 * groups;
        /* From the fourth run on, the difference to the run two places earlier is written. No sum of two can overflow:
           a difference has 50 bits, and runs are refused beyond 62. */
        if (found > 2)
            value += number_at((Numbers){runs, found}, found - 2);
        if (value < 0 || value > INT64_C(1) << 62)
            return -1;
        memcpy(runs + 8 * found++, &value, 8);
        groups = 0, value = 0;
    }
    return groups ? -1 : found;
}

#endif
