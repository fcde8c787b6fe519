/* CRC-32C (RFC 3720, B.4; polynomial 0x1EDC6F41, reflected), of rows on their way into a batch.

   The processor's instruction takes eight bytes a cycle, and answers three cycles later: three stretches of a block take
   turns. The remainder of the whole follows from those of the parts, since appending zeros to a message multiplies its
   remainder by a constant: `CRC_SHIFT` looks that up for STRETCH bytes.

   With AVX-512, 256 bytes are held that stand for all of a message so far: they are multiplied to stand 256 bytes later, and
   added to the bytes that are there (Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
   Instruction", Intel, 2009). */

#ifndef RESIZEONCE_CRC32C_H
#define RESIZEONCE_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { STRETCH = 1024, CRC_BLOCK = 3 * STRETCH, FOLDED = 256 };

static uint64_t CRC_FOLD[2];       /* by what the halves of 16 bytes are multiplied to stand FOLDED bytes later */
static uint32_t CRC_TABLE[8][256]; /* [k][b]: what byte b leaves after k more bytes of zeros */
static uint32_t CRC_SHIFT[4][256]; /* [k][b]: what byte k of a remainder leaves after STRETCH bytes of zeros */

/* x^n modulo the polynomial, the highest power in the lowest bit, as the upper half of a word. */
static uint64_t crc_power(int n)
{
    uint32_t power = 0x80000000u;
    while (n--)
        power = power >> 1 ^ (power & 1 ? 0x82F63B78u : 0);
    return (uint64_t)power << 32;
}

static void make_crc_tables(void)
{
    /* The product of two reflected words is one power of x short of what a vector of twice their length stands for. */
    CRC_FOLD[0] = crc_power(8 * FOLDED + 64 - 1);
    CRC_FOLD[1] = crc_power(8 * FOLDED - 1);
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
        CRC_TABLE[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++)
            CRC_TABLE[k][byte] = CRC_TABLE[k - 1][byte] >> 8 ^ CRC_TABLE[0][CRC_TABLE[k - 1][byte] & 255];
    /* Of one bit each, then of all: a remainder is the sum of what its bits leave. */
    for (int bit = 0; bit < 32; bit++) {
        uint32_t crc = (uint32_t)1 << bit;
        for (int zeros = 0; zeros < STRETCH; zeros++)
            crc = crc >> 8 ^ CRC_TABLE[0][crc & 255];
        for (int byte = 0; byte < 256; byte++)
            CRC_SHIFT[bit / 8][byte] ^= byte >> bit % 8 & 1 ? crc : 0;
    }
}

static inline uint32_t shift_crc(uint32_t crc)
{
    return CRC_SHIFT[0][crc & 255] ^ CRC_SHIFT[1][crc >> 8 & 255] ^ CRC_SHIFT[2][crc >> 16 & 255] ^ CRC_SHIFT[3][crc >> 24];
}

/* The remainder of the three stretches of a block, each begun with zero but the first. */
static inline uint32_t join_crc(uint32_t first, uint32_t second, uint32_t third)
{
    return shift_crc(shift_crc(first) ^ second) ^ third;
}

static inline uint64_t load_word(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, 8);
    return word;
}

#endif
