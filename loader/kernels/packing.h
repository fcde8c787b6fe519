/* What unpacking a compact image (`packed_images.h`) needs at each level. */

#ifndef RESIZEONCE_PACKING_H
#define RESIZEONCE_PACKING_H

#include <stdlib.h>

#include "crc32c.h"
#include "row_codecs.h"
#include "scale.h"

enum {
    LINE_BYTES = 64,        /* of the cache */
    SUMMED_BYTES = 1 << 13, /* what is added to a checksum at once */
};

/* An image as it is stored. */
typedef struct {
    const uint8_t *bytes;
    int64_t size;
    Shape shape;
} Packed;

/* Room for a row: its values as they are packed, and the row above. And for all of an image's numbers of bits, zeros behind. */
typedef struct {
    uint8_t *memory, *values, *row, *pairs;
} Lines;

/* By number of bits: where each of eight values of so many bits begins, and a mask of each one's bits within its byte. */
static uint64_t PLACES[16], MASKS[16];

/* By number of bits: masks of four values, of two in each half of a word, and of one in each quarter. */
static uint64_t HALVES[3][16];

/* For each byte of 64, the last one of the 16 before its own 16. */
static uint8_t LAST_OF_LANES[64];

/* The matrix of unfolding: row j of it, which gives bit j, is byte 7 - j. */
#define UNFOLDING 0x0305091121418101

/* Whether depositing bits takes a cycle or so: on some processors that have the instruction it takes dozens. */
static int has_fast_deposit;

static void make_packing_tables(void)
{
    for (int bits = 0; bits <= GROUP; bits++) {
        for (int i = 0; i < 8; i++) {
            PLACES[bits] |= (uint64_t)(i * bits) << 8 * i;
            MASKS[bits] |= (uint64_t)((1 << bits) - 1) << 8 * i;
        }
        for (int place = 0, count = 4; place < 3; place++, count >>= 1)
            for (int part = 0; part < 64; part += 16 * count)
                HALVES[place][bits] |= (((uint64_t)1 << count * bits) - 1) << part;
    }
    for (int i = 16; i < 64; i++)
        LAST_OF_LANES[i] = (uint8_t)(i / 16 * 16 - 1);
#if HAS_LEVELS
    has_fast_deposit = !__builtin_cpu_is("znver1") && !__builtin_cpu_is("znver2") && !__builtin_cpu_is("bdver4");
#endif
}

/* Whether these numbers of bits, `num_pairs` bytes, take so many bytes, and each of them there can be.

   Whole words are read: `pairs` goes on with zeros. */
static int takes_bytes(const uint8_t *pairs, int64_t num_pairs, int64_t count)
{
    const uint64_t low = 0x0F0F0F0F0F0F0F0F, ones = 0x0101010101010101;
    uint64_t total = 0, carried = 0;
    /* Eight bytes at a time; a number above eight reaches the fifth bit of its byte when seven are added. */
    for (int64_t at = 0; at < num_pairs; at += 8) {
        const uint64_t word = load_word(pairs + at), first = word & low, second = word >> 4 & low;
        carried |= (first + 7 * ones) | (second + 7 * ones);
        total += (first + second) * ones >> 56;
    }
    return !(carried & 16 * ones) && (int64_t)total == count;
}

/* Takes the room for an image; returns whether it could be had. Let go of by `free(lines->memory)`. */
static int take_lines(Lines *lines, int64_t height, int64_t width)
{
    const int64_t line = 2 * GROUP * pairs_of_row(width);
    lines->memory = calloc((size_t)(2 * line + height * pairs_of_row(width) + 8 + LINE_BYTES), 1);
    if (!lines->memory)
        return 0;
    /* Vectors that begin with a line of the cache take one of them each, and not two. */
    lines->values = lines->memory + -(uintptr_t)lines->memory % LINE_BYTES;
    lines->row = lines->values + line;
    lines->pairs = lines->row + line;
    return 1;
}

#endif
