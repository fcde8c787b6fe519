/* Masks as Zstandard frames (RFC 8878), made with the row above in mind: what loader/format/mask_sequences.py says.

   Words are stored as they are: processors are little-endian. */

#ifndef RESIZEONCE_MASK_FRAMES_H
#define RESIZEONCE_MASK_FRAMES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "row_codecs.h"

enum {
    MAX_SEQUENCES = BLOCK / SHORTEST, /* each copy is of SHORTEST pixels at least, of a block's own */
    COMPARED = 256,                   /* pixels that are compared with those above at once */
};

static inline uint64_t differing_bytes(const uint8_t *one, const uint8_t *other)
{
    uint64_t word, other_word;
    memcpy(&word, one, 8);
    memcpy(&other_word, other, 8);
    return word ^ other_word;
}

/* Writes which pixels differ from those above, and all of the first row; returns how many there are.

   Once there are more than `most`, the rest is not looked at. `changes`: [most + COMPARED]; `most` >= width. */
static int64_t find_changes(const uint8_t *pixels, int64_t size, int64_t width, int64_t most, uint32_t *changes)
{
    int64_t found = 0, at = width;
    for (; found < width; found++)
        changes[found] = (uint32_t)found;
    for (; at + COMPARED <= size && found <= most; at += COMPARED) {
        const uint8_t *now = pixels + at, *above = now - width;
        uint64_t differing = 0;
        for (int i = 0; i < COMPARED; i += 8)
            differing |= differing_bytes(now + i, above + i);
        if (!differing)
            continue;
        for (int i = 0; i < COMPARED; i += 8)
            for (uint64_t word = differing_bytes(now + i, above + i); word;) {
                int byte = __builtin_ctzll(word) / 8;
                changes[found++] = (uint32_t)(at + i + byte);
                word &= ~(UINT64_C(255) << 8 * byte);
            }
    }
    for (; at < size && found <= most; at++)
        if (pixels[at] != pixels[at - width])
            changes[found++] = (uint32_t)at;
    return found;
}

/* Single pixels, then a copy. */
typedef struct {
    int32_t num_literals, offset_number, length;
} Sequence;

/* What a block is taken apart into, and what is known from one block to the next. */
typedef struct {
    const uint8_t *pixels;
    int64_t width;
    const uint32_t *changes;       /* pixels that differ from the ones above, ascending */
    int64_t num_changes, change;   /* how many, and the first that is not behind */
    int64_t newest, older;         /* the last offsets (3.1.1.5); the third is never used */
    int32_t num_sequences, num_literals;
    Sequence sequences[MAX_SEQUENCES];
    uint8_t literals[BLOCK];
} Encoder;

static void add_copy(Encoder *encoder, int32_t num_literals, int64_t offset, int64_t length)
{
    int64_t number;
    /* A literal before it decides what the numbers of recent offsets mean. */
    if (offset == encoder->newest && num_literals) {
        number = 1;
    } else if (offset == encoder->older) {
        number = num_literals ? 2 : 1;
        encoder->older = encoder->newest;
        encoder->newest = offset;
    } else {
        number = offset + 3;
        encoder->older = encoder->newest;
        encoder->newest = offset;
    }
    encoder->sequences[encoder->num_sequences++] = (Sequence){num_literals, (int32_t)number, (int32_t)length};
}

/* Where the pixels that equal those above end, at most `stop`; from `at` on. */
static int64_t end_of_copy(Encoder *encoder, int64_t at, int64_t stop)
{
    while (encoder->change < encoder->num_changes && encoder->changes[encoder->change] < at)
        encoder->change++;
    int64_t end = encoder->change < encoder->num_changes ? encoder->changes[encoder->change] : stop;
    return end < stop ? end : stop;
}

/* From `end` on, where the pixels end that are not worth a copy of the row above. */
static int64_t end_of_edges(Encoder *encoder, int64_t end, int64_t stop)
{
    for (; encoder->change < encoder->num_changes; encoder->change++) {
        int64_t change = encoder->changes[encoder->change];
        if (change >= stop || change >= end + SHORTEST)
            break;
        end = change + 1;
    }
    return stop - end < SHORTEST ? stop : end;
}

/* Takes pixels `at` to `stop`, a block, apart: copies of the row above, copies of the pixel before, single pixels. */
static void find_sequences(Encoder *encoder, int64_t at, int64_t stop)
{
    const uint8_t *pixels = encoder->pixels;
    int64_t end = at;
    int32_t pending = 0;
    encoder->num_sequences = encoder->num_literals = 0;
    while (at < stop) {
        if (at >= end) {
            end = end_of_copy(encoder, at, stop);
            if (end - at < SHORTEST) {
                end = end_of_edges(encoder, end, stop);
                continue;
            }
            add_copy(encoder, pending, encoder->width, end - at);
            pending = 0;
            at = end;
            continue;
        }
        int64_t run = at + 1;
        while (run < end && pixels[run] == pixels[at])
            run++;
        int32_t single = run - at > SHORTEST ? 1 : (int32_t)(run - at);
        memset(encoder->literals + encoder->num_literals, pixels[at], (size_t)single);
        encoder->num_literals += single;
        pending += single;
        at += single;
        if (run > at) {
            add_copy(encoder, pending, 1, run - at);
            pending = 0;
            at = run;
        }
    }
}

/* Bits on their way to memory, the lowest first. */
typedef struct {
    uint8_t *out;
    uint64_t bits;
    int held;
} BitWriter;

static inline void add_bits(BitWriter *writer, int64_t bits, int count)
{
    writer->bits |= (uint64_t)bits << writer->held;
    writer->held += count;
}

/* Writes the whole bytes that are held; eight bytes are touched. */
static inline void write_bytes(BitWriter *writer)
{
    memcpy(writer->out, &writer->bits, 8);
    writer->out += writer->held / 8;
    writer->bits >>= writer->held & ~7;
    writer->held &= 7;
}

/* The last code whose smallest value is not above this one. */
static inline int code_of(const CodeTable *table, int32_t value)
{
    int code = 0;
    for (int step = 32; step; step >>= 1)
        if (code + step < table->num_codes && table->smallest[code + step] <= value)
            code += step;
    return code;
}

/* One of the three parts of sequences, encoded from the last to the first: what a decoder reads last comes first. */
typedef struct {
    const CodeTable *table;
    int state, next, code;
} Part;

/* Takes the state of a code from which the present one is reached. */
static inline void go_back(Part *part, int32_t value)
{
    part->code = code_of(part->table, value);
    part->next = part->state;
    part->state = part->table->state_before[part->code][part->next];
}

static inline void add_step(BitWriter *writer, const Part *part)
{
    add_bits(writer, part->next - part->table->base[part->state], part->table->bits[part->state]);
}

static inline void add_extra(BitWriter *writer, const Part *part, int32_t value)
{
    add_bits(writer, value - part->table->smallest[part->code], part->table->extra_bits[part->code]);
}

static inline uint8_t *write_number(uint8_t *out, uint64_t number, int num_bytes)
{
    for (int i = 0; i < num_bytes; i++)
        *out++ = (uint8_t)(number >> 8 * i);
    return out;
}

/* Writes the sequences of a block; returns where they end, NULL if that is not before `stop`.

   Up to 20 bytes from `stop` on may be touched. */
static uint8_t *write_sequences(const Encoder *encoder, uint8_t *out, const uint8_t *stop)
{
    Part literals = {&LITERAL_LENGTHS, 0, 0, 0}, matches = {&MATCH_LENGTHS, 0, 0, 0}, offsets = {&OFFSETS, 0, 0, 0};
    BitWriter writer = {out, 0, 0};
    for (int32_t at = encoder->num_sequences - 1; at >= 0; at--) {
        Sequence one = encoder->sequences[at];
        go_back(&literals, one.num_literals);
        go_back(&matches, one.length);
        go_back(&offsets, one.offset_number);
        /* After the last sequence no state follows: any of the code's own will do. */
        if (at < encoder->num_sequences - 1) {
            add_step(&writer, &offsets);
            add_step(&writer, &matches);
            add_step(&writer, &literals);
            write_bytes(&writer);
        }
        /* At most 7 + 16 + 16 + 23 bits: no offset is beyond the window. */
        add_extra(&writer, &literals, one.num_literals);
        add_extra(&writer, &matches, one.length);
        add_extra(&writer, &offsets, one.offset_number);
        write_bytes(&writer);
        if (writer.out >= stop)
            return NULL;
    }
    /* The states to begin with, 6, 5 and 6 bits, and a bit that marks the end. */
    add_bits(&writer, matches.state | offsets.state << 6 | literals.state << 11 | 1 << 17, 18);
    writer.held += 7;
    write_bytes(&writer);
    return writer.out < stop ? writer.out : NULL;
}

/* Writes what `find_sequences` found; returns where the block ends, NULL if that is not before `stop`. */
static uint8_t *write_block(const Encoder *encoder, uint8_t *out, const uint8_t *stop)
{
    if (stop - out <= 6 + encoder->num_literals)
        return NULL;
    /* Literals as they are, their number in 20 bits. */
    out = write_number(out, 0xC | (uint64_t)encoder->num_literals << 4, 3);
    memcpy(out, encoder->literals, (size_t)encoder->num_literals);
    out += encoder->num_literals;
    if (!encoder->num_sequences) {
        *out++ = 0;
        return out;
    }
    /* Their number in two bytes, enough for copies of SHORTEST pixels; then, that all tables are predefined ones. */
    *out++ = (uint8_t)((encoder->num_sequences >> 8) + 128);
    *out++ = (uint8_t)encoder->num_sequences;
    *out++ = 0;
    return write_sequences(encoder, out, stop);
}

/* How many bytes `write_frame` may touch. */
static inline int64_t frame_bound(int64_t size)
{
    return HEADER_BYTES + size + 3 * (size / BLOCK + 1) + 32;
}

/* Writes the frame of a mask; returns how many bytes it has, 0 if a block is no smaller than its pixels.

   `changes`: what `find_changes` found. `encoder`: room. `out`: [frame_bound]. */
static int64_t write_frame(const uint8_t *pixels, int64_t size, int64_t width, const uint32_t *changes,
                           int64_t num_changes, Encoder *encoder, uint8_t *out)
{
    encoder->pixels = pixels;
    encoder->width = width;
    encoder->changes = changes;
    encoder->num_changes = num_changes;
    encoder->change = 0;
    /* The offsets that a frame begins with. */
    encoder->newest = 1;
    encoder->older = 4;
    /* A size in four bytes and no checksum; one segment that is its own window, or a window of 2**23. */
    uint8_t *at = write_number(out, ZSTD_MAGIC, 4);
    if (size <= WINDOW) {
        *at++ = 0xA0;
    } else {
        *at++ = 0x80;
        *at++ = WINDOW_BYTE;
    }
    at = write_number(at, (uint64_t)size, 4);
    for (int64_t first = 0; first < size; first += BLOCK) {
        int64_t num_pixels = size - first < BLOCK ? size - first : BLOCK;
        find_sequences(encoder, first, first + num_pixels);
        uint8_t *begin = at + 3;
        at = write_block(encoder, begin, begin + num_pixels);
        if (!at)
            return 0;
        int is_last = first + num_pixels == size;
        write_number(begin - 3, (uint64_t)(at - begin) << 3 | 2 << 1 | (uint64_t)is_last, 3);
    }
    return at - out;
}

#endif
