/* The parts of a mask's frame (RFC 8878), as `mask_frames.h` reads them; the same for each level. */

#ifndef RESIZEONCE_MASK_READING_H
#define RESIZEONCE_MASK_READING_H

#include "crc32c.h"
#include "row_codecs.h"

/* What a state of one part of a sequence says. */
typedef struct {
    int32_t smallest;
    uint8_t extra_bits, bits, base;
} Step;

static Step LL_STEPS[MAX_STATES], ML_STEPS[MAX_STATES], OF_STEPS[MAX_STATES];

static void make_steps(Step *steps, const CodeTable *table)
{
    for (int state = 0; state < table->num_states; state++) {
        int code = table->codes[state];
        steps[state] = (Step){table->smallest[code], table->extra_bits[code], table->bits[state], table->base[state]};
    }
}

/* The row that is being made, and where rows go. */
typedef struct {
    uint8_t *pixels; /* [width], 0 or 1: the last pixels, each at its place in a row */
    int64_t width, x, begin; /* x pixels of the row so far, `begin` before it */
    int64_t size; /* pixels of the mask */
    float *floats; /* [size], or NULL */
    uint8_t *bits; /* (width + 7) / 8 bytes a row, where there are no floats */
} Row;

/* The offsets used last, the newest first. */
typedef struct {
    int64_t last[3];
} Offsets;

/* Bits that are read from the end: `left` of them, down to `least`, and eight bytes that hold the next ones. */
typedef struct {
    const uint8_t *bytes;
    int64_t left, least;
    uint64_t word;
    int held;
} Bits;

enum { LITERALS = 3 }; /* where a block's literals begin */

/* Where the parts of a block are. */
typedef struct {
    int64_t literals_end, bits_begin;
    int num_sequences;
} Sections;

static inline int64_t load_number(const uint8_t *bytes, int count)
{
    int64_t number = 0;
    for (int i = 0; i < count; i++)
        number |= (int64_t)bytes[i] << 8 * i;
    return number;
}

/* Reads the header of a frame of so many pixels; returns where its blocks begin, -1 where it is of another kind. */
static int64_t read_frame_header(const uint8_t *frame, int64_t size, int64_t num_pixels)
{
    if (size < HEADER_BYTES || load_number(frame, 4) != ZSTD_MAGIC)
        return -1;
    /* One segment that is its own window, or the one window that the encoder asks for; a size in four bytes. */
    int64_t at = frame[4] == 0xA0 ? 5 : frame[4] == 0x80 && frame[5] == WINDOW_BYTE ? 6 : -1;
    return at >= 0 && load_number(frame + at, 4) == num_pixels ? at + 4 : -1;
}

/* Reads what a block consists of: literals as they are, their number in 20 bits, and sequences of the predefined tables. */
static int read_sections(const uint8_t *block, int64_t size, Sections *sections)
{
    if (size <= LITERALS || (block[0] & 15) != 12)
        return 0;
    int64_t end = LITERALS + (load_number(block, LITERALS) >> 4);
    if (end >= size)
        return 0;
    *sections = (Sections){end, end + 1, 0};
    if (block[end] == 0)
        return end + 1 == size;
    /* Their number in two bytes, then the modes of the three tables. */
    if (block[end] < 128 || block[end] == 255 || size - end < 3 || block[end + 2])
        return 0;
    sections->bits_begin = end + 3;
    sections->num_sequences = (block[end] - 128) << 8 | block[end + 1];
    return sections->num_sequences > 0;
}

/* Makes sure that `count` bits, 57 at most, can be taken; returns whether there are so many. The block has eight bytes. */
static inline int hold(Bits *bits, int count)
{
    if (bits->left - bits->least < count)
        return 0;
    int64_t start = ((bits->left + 7) >> 3) - 8;
    start = start < 0 ? 0 : start;
    bits->word = load_word(bits->bytes + start);
    bits->held = (int)(bits->left - 8 * start);
    bits->left -= count;
    return 1;
}

/* Takes some of the bits that are held. */
static inline int64_t take(Bits *bits, int count)
{
    bits->held -= count;
    /* Of no bits, the place may be the word's end: what is shifted then does not matter. */
    return (int64_t)(bits->word >> (bits->held & 63) & (((uint64_t)1 << count) - 1));
}

/* Returns the offset that a number stands for (3.1.1.5), which becomes the newest. */
static inline int64_t recall(Offsets *recent, int64_t number, int is_without_literals)
{
    int64_t *last = recent->last, offset;
    int64_t index = number - 1 + is_without_literals;
    if (number <= 3 && index == 0)
        return last[0];
    if (number > 3)
        offset = number - 3;
    else
        offset = index == 3 ? last[0] - 1 : last[index];
    if (number > 3 || index > 1)
        last[2] = last[1];
    last[1] = last[0];
    return last[0] = offset;
}

#endif
