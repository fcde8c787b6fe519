/* What encoder and decoder share of the two codecs: constants, and the predefined tables of RFC 8878.

   `loader.format.gradient` and `loader.format.mask_codec` say the same in words and in numpy; tests compare the two. */

#ifndef RESIZEONCE_ROW_CODECS_H
#define RESIZEONCE_ROW_CODECS_H

#include <stdint.h>

/* Images stored compact (loader/format/gradient.py). */
enum {
    GROUP = 8,       /* values that share a number of bits */
    SLACK_BYTES = 8, /* zeros at the end, so that eight bytes may be read at a time */
};

/* How many bytes the numbers of bits of a row of so many pixels take: two groups' in each. */
static inline int64_t pairs_of_row(int64_t width)
{
    return (3 * width + 15) / 16;
}

/* Masks as Zstandard frames (loader/format/mask_sequences.py). */
enum {
    BLOCK = 1 << 17,    /* pixels of a block: the most that the format allows */
    SHORTEST = 6,       /* pixels that are worth a copy */
    HEADER_BYTES = 10,  /* magic number, what the header holds, perhaps a window, the size in four bytes */
    WINDOW = 1 << 23,   /* pixels within which a decoder must be able to look back */
    WINDOW_BYTE = (23 - 10) << 3, /* the same as the format writes it (3.1.1.1.2) */
    MAX_CODES = 53,
    MAX_STATES = 64,
};

#define ZSTD_MAGIC 0xFD2FB528u

/* How one part of a sequence (RFC 8878, 3.1.1.3.2.1.1) is encoded and decoded. */
typedef struct {
    int num_codes, num_states;
    int32_t smallest[MAX_CODES];                 /* the smallest value of each code */
    uint8_t extra_bits[MAX_CODES];               /* how many bits tell which of its values it is */
    uint8_t state_before[MAX_CODES][MAX_STATES]; /* the state with that code from which a next one is reached */
    uint8_t codes[MAX_STATES];                   /* of each state: its code, */
    uint8_t bits[MAX_STATES];                    /* how many bits are read for the next state, */
    uint8_t base[MAX_STATES];                    /* and what they are added to */
} CodeTable;

/* Makes the table of a distribution (RFC 8878, 4.1.1).

   `counts`: of each code, how many of the states are its own; -1 is one state, after which all bits of the next are
   read. `first`: the smallest value of the first code; each other code begins where the one before ends. */
static inline void make_table(CodeTable *table, int num_codes, const int8_t *counts, int32_t first, const uint8_t *extra_bits)
{
    int num_states = 0, following[MAX_CODES];
    for (int code = 0; code < num_codes; code++) {
        following[code] = counts[code] < 0 ? 1 : counts[code];
        num_states += following[code];
        table->smallest[code] = first;
        table->extra_bits[code] = extra_bits[code];
        first += 1 << extra_bits[code];
    }
    table->num_codes = num_codes;
    table->num_states = num_states;
    int end = num_states;
    for (int code = 0; code < num_codes; code++)
        if (counts[code] < 0)
            table->codes[--end] = (uint8_t)code;
    int at = 0, step = (num_states >> 1) + (num_states >> 3) + 3;
    for (int code = 0; code < num_codes; code++)
        for (int i = 0; i < counts[code]; i++) {
            table->codes[at] = (uint8_t)code;
            do
                at = (at + step) % num_states;
            while (at >= end);
        }
    for (int state = 0; state < num_states; state++) {
        int code = table->codes[state], place = following[code]++, bits = 0;
        while (place << bits < num_states)
            bits++;
        table->bits[state] = (uint8_t)bits;
        table->base[state] = (uint8_t)((place << bits) - num_states);
        for (int next = table->base[state]; next < table->base[state] + (1 << bits); next++)
            table->state_before[code][next] = (uint8_t)state;
    }
}

static CodeTable LITERAL_LENGTHS, MATCH_LENGTHS, OFFSETS;

/* Makes the predefined tables (RFC 8878, 3.1.1.3.2.2); to be called before any of them is used. */
static inline void make_tables(void)
{
    static const int8_t literal_counts[36] = {4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2,
                                              2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1};
    static const uint8_t literal_extra[36] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1,
                                              1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const int8_t match_counts[53] = {1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                            1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                            1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1};
    static const uint8_t match_extra[53] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1,
                                            2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const int8_t offset_counts[29] = {1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1,
                                             1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1};
    static const uint8_t offset_extra[29] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
                                             15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28};
    make_table(&LITERAL_LENGTHS, 36, literal_counts, 0, literal_extra);
    make_table(&MATCH_LENGTHS, 53, match_counts, 3, match_extra);
    make_table(&OFFSETS, 29, offset_counts, 1, offset_extra);
}

#endif
