/* Images packed to be stored compact, a row at a time, all of it in the cache: what loader/format/gradient.py says.

   Words are stored as they are: processors are little-endian. */

#ifndef RESIZEONCE_GRADIENT_H
#define RESIZEONCE_GRADIENT_H

#include <stdint.h>
#include <string.h>

#include "row_codecs.h"

/* Small numbers of either sign become small ones: 0, -1, 1, -2, ... are 0, 1, 2, 3, ... */
static inline uint8_t fold(uint8_t value)
{
    return (uint8_t)(value << 1) ^ (uint8_t)(0 - (value >> 7));
}

/* Writes each value of a line less the one before. */
static void subtract_left(const uint8_t *restrict line, uint8_t *restrict out, int64_t width)
{
    out[0] = line[0];
    for (int64_t x = 1; x < width; x++)
        out[x] = (uint8_t)(line[x] - line[x - 1]);
}

/* Steps 1 to 3 for row y of an image, uint8 [3, height, width]. `line`: [width]. `values`: [3 * width]. */
static void take_gradient(const uint8_t *restrict image, int64_t y, int64_t height, int64_t width,
                          uint8_t *restrict line, uint8_t *restrict values)
{
    for (int channel = 0; channel < 3; channel++) {
        const uint8_t *row = image + (channel * height + y) * width;
        if (y)
            for (int64_t x = 0; x < width; x++)
                line[x] = (uint8_t)(row[x] - row[x - width]);
        subtract_left(y ? line : row, values + channel * width, width);
    }
    uint8_t *red = values, *green = values + width, *blue = values + 2 * width;
    for (int64_t x = 0; x < width; x++) {
        red[x] = fold((uint8_t)(red[x] - green[x]));
        blue[x] = fold((uint8_t)(blue[x] - green[x]));
        green[x] = fold(green[x]);
    }
}

/* Gathers the lowest bits of each byte of a word: bytes are moved together in twos, in fours, then all. */
static inline uint64_t gather(uint64_t word, int bits)
{
    int unused = 8 - bits;
    word = (word & 0x00FF00FF00FF00FFu) | (word & 0xFF00FF00FF00FF00u) >> unused;
    word = (word & 0x0000FFFF0000FFFFu) | (word & 0xFFFF0000FFFF0000u) >> 2 * unused;
    return (word & 0x00000000FFFFFFFFu) | (word & 0xFFFFFFFF00000000u) >> 4 * unused;
}

/* Packs an image, uint8 [3, height, width]; returns how many bytes are used.

   `line`: [width]. `values`: [16 * pairs of a row], zero. `out`: [`packed_bound`]. */
static int64_t pack_image(const uint8_t *restrict image, int64_t height, int64_t width, uint8_t *restrict line,
                          uint8_t *restrict values, uint8_t *restrict out)
{
    int64_t num_pairs = pairs_of_row(width);
    uint8_t *pairs = out, *payload = out + height * num_pairs;
    for (int64_t y = 0; y < height; y++) {
        take_gradient(image, y, height, width, line, values);
        for (int64_t pair = 0; pair < num_pairs; pair++) {
            int both = 0;
            for (int half = 0; half < 2; half++) {
                uint64_t word;
                memcpy(&word, values + (2 * pair + half) * GROUP, GROUP);
                uint64_t used = word | word >> 32;
                used |= used >> 16;
                used = (used | used >> 8) & 255;
                int bits = used ? 64 - __builtin_clzll(used) : 0;
                word = gather(word, bits);
                /* The next group begins within these eight bytes, or right behind them. */
                memcpy(payload, &word, GROUP);
                payload += bits;
                both |= bits << 4 * half;
            }
            *pairs++ = (uint8_t)both;
        }
    }
    memset(payload, 0, SLACK_BYTES);
    return payload + SLACK_BYTES - out;
}

#endif
