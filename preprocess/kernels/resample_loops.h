/* What resizing spends its time in, at each level; `resample.h` has the order of the work, and says what is turned.

   Weights are split into digits, whose sums wrap around at 32 bits: so they need no room of their own. */

#ifndef RESIZEONCE_RESAMPLE_LOOPS_H
#define RESIZEONCE_RESAMPLE_LOOPS_H

#include "processor.h"

#include <stdint.h>
#include <string.h>

enum {
    PRECISION_BITS = 22, /* of a weight behind the point: 32, less 8 for the pixel and 2 for filters that overshoot */
    WEIGHT_LIMIT = (1 << 23) - (1 << 16), /* three balanced digits of 8 bits hold a little more */
    BLOCK_ROWS = 16,                      /* source rows that are resized horizontally at once */
    COLUMN_BYTES = 3 * BLOCK_ROWS,        /* of one column of a turned block */
    STEP = 4,                             /* columns of pixels that are turned at once, */
    STEP_BYTES = 3 * STEP,                /* which are so many bytes of a row, */
    LOADED_BYTES = 16,                    /* of which so many are read */
    MOST_LANES = 64,
};

/* How one side of an image is resized. A group is the taps that one instruction takes. */
typedef struct {
    int64_t size, groups;
    int64_t *first;   /* [size]: the source pixel that the groups of an output pixel begin with */
    int64_t *used;    /* [size]: how many of its groups have weights */
    int32_t *weights; /* [size, groups, digits]: in each, the digits of a group's weights side by side */
} Axis;

/* The loops of a level, and the form in which they take their data. */
typedef struct {
    int log_taps;     /* of a group of 1, 2 or 4: digits of weights have 32, 16 or 8 bits */
    int digits;       /* of a weight */
    int interleaved;  /* columns, and waiting rows, that stand side by side; groups begin with the first of so many */
    int column_bytes; /* of a turned column of pixels */
    int lanes;        /* bytes that the vertical pass makes at once */
    /* Writes weights as digits, from tap `skipped` of the first group on; returns how many groups have any, -1 where a
       weight is too large. */
    int64_t (*split)(const char *weights, int64_t taps, int64_t skipped, int32_t *groups);
    /* Turns the first `steps` x STEP columns of sixteen rows; reads LOADED_BYTES - STEP_BYTES bytes more of each. */
    void (*turn)(const uint8_t *const *rows, int64_t steps, uint8_t *block);
    /* Writes rows of `bytes` bytes as one line. */
    void (*interleave)(const uint8_t *const *rows, int64_t bytes, uint8_t *line);
    /* Resizes a turned block horizontally. Its rows go to `lines`, of interleaved rows of 3 x padded bytes. */
    void (*weigh_columns)(const Axis *axis, const uint8_t *block, int64_t padded, uint8_t *const *lines);
    /* Makes vectors of `lanes` bytes of one output row, from those that stand at `at` in the `lines` of its window. */
    void (*weigh_rows)(const uint8_t *const *lines, int64_t at, const int32_t *weights, int64_t groups, int64_t vectors,
                       uint8_t *out);
} ResampleLoops;

/* What `split` does. Digits go from minus half their base on, so that each fits into a signed number. */
static inline int64_t split_weights(const char *weights, int64_t taps, int64_t skipped, int32_t *groups, int log_taps,
                                    int digits)
{
    const int bits = 32 >> log_taps;
    int64_t end = 0;
    for (int64_t tap = skipped; tap < skipped + taps; tap++) {
        int32_t *group = groups + (tap >> log_taps) * digits, weight;
        const int place = bits * (int)(tap & ((1 << log_taps) - 1));
        memcpy(&weight, weights + 4 * (tap - skipped), 4);
        if (weight > WEIGHT_LIMIT || weight < -WEIGHT_LIMIT)
            return -1;
        end = weight ? tap + 1 : end;
        int64_t rest = weight;
        for (int digit = 0; digit < digits; digit++) {
            group[digit] = (int32_t)((uint32_t)group[digit] | ((uint32_t)rest & UINT32_MAX >> (32 - bits)) << place);
            rest = (rest + ((int64_t)1 << (bits - 1))) >> bits;
        }
    }
    return (end + (1 << log_taps) - 1) >> log_taps;
}

static int64_t split_plain(const char *weights, int64_t taps, int64_t skipped, int32_t *groups)
{
    return split_weights(weights, taps, skipped, groups, 0, 1);
}

static void turn_plain(const uint8_t *const *rows, int64_t steps, uint8_t *block)
{
    for (int64_t at = 0; at < steps * STEP_BYTES; at++)
        for (int row = 0; row < BLOCK_ROWS; row++)
            block[at * BLOCK_ROWS + row] = rows[row][at];
}

static void copy_row(const uint8_t *const *rows, int64_t bytes, uint8_t *line)
{
    memcpy(line, rows[0], (size_t)bytes);
}

/* A column, or as much of a row. Compilers take shorter loops apart before they think of vectors. */
enum { PLAIN_LANES = COLUMN_BYTES };

static inline void add_plain(uint32_t *restrict sums, const uint8_t *restrict pixels, int32_t weight)
{
    for (int lane = 0; lane < PLAIN_LANES; lane++)
        sums[lane] += pixels[lane] * (uint32_t)weight;
}

static inline void round_plain(const uint32_t *restrict sums, uint8_t *restrict out)
{
    for (int lane = 0; lane < PLAIN_LANES; lane++) {
        /* Ten bits are left, and twice as many lanes of 16 bits are clipped at once. */
        int16_t value = (int16_t)((int32_t)(sums[lane] + (1u << (PRECISION_BITS - 1))) >> PRECISION_BITS);
        value = value < 0 ? 0 : value;
        out[lane] = (uint8_t)(value > 255 ? 255 : value);
    }
}

static void weigh_columns_plain(const Axis *axis, const uint8_t *block, int64_t padded, uint8_t *const *lines)
{
    for (int64_t x = 0; x < axis->size; x++) {
        const uint8_t *pixels = block + axis->first[x] * PLAIN_LANES;
        uint32_t sums[PLAIN_LANES] = {0};
        uint8_t column[PLAIN_LANES];
        for (int64_t tap = 0; tap < axis->used[x]; tap++)
            add_plain(sums, pixels + tap * PLAIN_LANES, axis->weights[x * axis->groups + tap]);
        round_plain(sums, column);
        for (int channel = 0; channel < 3; channel++)
            for (int row = 0; row < BLOCK_ROWS; row++)
                lines[row][channel * padded + x] = column[channel * BLOCK_ROWS + row];
    }
}

static void weigh_rows_plain(const uint8_t *const *lines, int64_t at, const int32_t *weights, int64_t groups,
                             int64_t vectors, uint8_t *out)
{
    for (int64_t x = 0; x < vectors * PLAIN_LANES; x += PLAIN_LANES) {
        uint32_t sums[PLAIN_LANES] = {0};
        for (int64_t tap = 0; tap < groups; tap++)
            add_plain(sums, lines[tap] + at + x, weights[tap]);
        round_plain(sums, out + x);
    }
}

#if HAS_LEVELS

/* Sixteen bit lanes are multiplied and added up in pairs, in half the time of eight products of 32 bits. A turned
   column holds the bytes of the next one beside its own, so that a pair of taps may begin at any. */

enum { PAIR_BYTES = 2 * COLUMN_BYTES };

BEGIN_TARGET(AVX2_TARGET)

static int64_t split_avx2(const char *weights, int64_t taps, int64_t skipped, int32_t *groups)
{
    return split_weights(weights, taps, skipped, groups, 1, 2);
}

/* Sums of sixteen lanes, in two halves: those of the low digit, and of the high one. */
typedef struct {
    __m256i low[2], high[2];
} SumsAvx2;

static inline SumsAvx2 no_sums_avx2(void)
{
    const __m256i half = _mm256_set1_epi32(1 << (PRECISION_BITS - 1)), zero = _mm256_setzero_si256();
    return (SumsAvx2){{half, half}, {zero, zero}};
}

/* Adds eight pairs of pixels to each half, times a group's digits. */
static inline void add_pairs_avx2(SumsAvx2 *sums, __m256i first, __m256i second, __m256i low, __m256i high)
{
    sums->low[0] = _mm256_add_epi32(sums->low[0], _mm256_madd_epi16(first, low));
    sums->high[0] = _mm256_add_epi32(sums->high[0], _mm256_madd_epi16(first, high));
    sums->low[1] = _mm256_add_epi32(sums->low[1], _mm256_madd_epi16(second, low));
    sums->high[1] = _mm256_add_epi32(sums->high[1], _mm256_madd_epi16(second, high));
}

/* Rounds to 16 bits, four of each half in turn; packing clips them to 8. */
static inline __m256i round_avx2(const SumsAvx2 *sums)
{
    __m256i first = _mm256_add_epi32(sums->low[0], _mm256_slli_epi32(sums->high[0], 16));
    __m256i second = _mm256_add_epi32(sums->low[1], _mm256_slli_epi32(sums->high[1], 16));
    return _mm256_packs_epi32(_mm256_srai_epi32(first, PRECISION_BITS), _mm256_srai_epi32(second, PRECISION_BITS));
}

static inline __m256i load_avx2(const uint8_t *bytes)
{
    return _mm256_loadu_si256((const __m256i *)bytes);
}

/* One output column of one channel, 16 bits each: sums of more than one channel would not stay in registers. */
static inline __m256i weigh_column_avx2(const Axis *axis, int64_t x, const uint8_t *channel)
{
    SumsAvx2 sums = no_sums_avx2();
    const uint8_t *pixels = channel + axis->first[x] * PAIR_BYTES;
    const int32_t *weights = axis->weights + x * axis->groups * 2;
    for (int64_t group = 0; group < axis->used[x]; group++, pixels += 2 * PAIR_BYTES, weights += 2) {
        __m256i first = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)pixels));
        __m256i second = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(pixels + 16)));
        add_pairs_avx2(&sums, first, second, _mm256_set1_epi32(weights[0]), _mm256_set1_epi32(weights[1]));
    }
    return round_avx2(&sums);
}

static inline __m256i load_two_avx2(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)low)),
                                   _mm_loadu_si128((const __m128i *)high), 1);
}

/* Turns pairs of bytes, from the places in each half of a line that `pairs` says, to every other column of a block. */
static inline void turn_pairs_avx2(const __m256i *lines, __m256i pairs, uint8_t *block)
{
    __m256i turned[8], merged[8];
    for (int row = 0; row < 8; row++)
        turned[row] = _mm256_shuffle_epi8(lines[row], pairs);
    /* Merging each line with the one half the lines later, three times over, is the transpose. */
    for (int round = 0; round < 3; round++) {
        for (int line = 0; line < 4; line++) {
            merged[2 * line] = _mm256_unpacklo_epi16(turned[line], turned[line + 4]);
            merged[2 * line + 1] = _mm256_unpackhi_epi16(turned[line], turned[line + 4]);
        }
        memcpy(turned, merged, sizeof turned);
    }
    for (int line = 0; line < 3; line++) {
        _mm256_storeu_si256((__m256i *)(block + line * 32), turned[line]);
        _mm256_storeu_si256((__m256i *)(block + 2 * PAIR_BYTES + line * 32), turned[line + 3]);
    }
}

static void turn_avx2(const uint8_t *const *rows, int64_t steps, uint8_t *block)
{
    const __m256i even = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, -1, -1, -1, -1));
    const __m256i odd = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(3, 6, 4, 7, 5, 8, 9, 12, 10, 13, 11, 14, -1, -1, -1, -1));
    for (int64_t step = 0; step < steps; step++, block += STEP * PAIR_BYTES) {
        __m256i lines[8];
        for (int row = 0; row < 8; row++)
            lines[row] = load_two_avx2(rows[row] + step * STEP_BYTES, rows[row + 8] + step * STEP_BYTES);
        turn_pairs_avx2(lines, even, block);
        turn_pairs_avx2(lines, odd, block + PAIR_BYTES);
    }
}

static void weigh_columns_avx2(const Axis *axis, const uint8_t *block, int64_t padded, uint8_t *const *lines)
{
    const int64_t last = axis->size - 1;
    __m256i tile[8] = {_mm256_setzero_si256()}, merged[8];
    for (int64_t left = 0; left < axis->size; left += 16)
        for (int channel = 0; channel < 3; channel++) {
            for (int64_t x = left; x <= last && x < left + 16; x += 2)
                tile[(x - left) / 2] = _mm256_packus_epi16(
                    weigh_column_avx2(axis, x, block + 32 * channel),
                    weigh_column_avx2(axis, x < last ? x + 1 : last, block + 32 * channel));
            for (int round = 0; round < 4; round++) {
                for (int line = 0; line < 4; line++) {
                    merged[2 * line] = _mm256_unpacklo_epi8(tile[line], tile[line + 4]);
                    merged[2 * line + 1] = _mm256_unpackhi_epi8(tile[line], tile[line + 4]);
                }
                memcpy(tile, merged, sizeof tile);
            }
            /* Packing has put rows 0-3 and 8-11 into the lower half. */
            for (int line = 0; line < 8; line++) {
                const int row = (line & 3) + 2 * (line & 4);
                _mm_storeu_si128((__m128i *)(lines[row] + channel * padded + left), _mm256_castsi256_si128(tile[line]));
                _mm_storeu_si128((__m128i *)(lines[row + 4] + channel * padded + left),
                                 _mm256_extracti128_si256(tile[line], 1));
            }
        }
}

static void weigh_rows_avx2(const uint8_t *const *lines, int64_t at, const int32_t *weights, int64_t groups,
                            int64_t vectors, uint8_t *out)
{
    const __m256i zero = _mm256_setzero_si256();
    for (int64_t x = 0; x < vectors * 32; x += 32) {
        SumsAvx2 even = no_sums_avx2(), odd = even;
        for (int64_t group = 0; group < groups; group++) {
            const __m256i low = _mm256_set1_epi32(weights[2 * group]), high = _mm256_set1_epi32(weights[2 * group + 1]);
            __m256i one = load_avx2(lines[2 * group] + at + x), other = load_avx2(lines[2 * group + 1] + at + x);
            __m256i pairs = _mm256_unpacklo_epi8(one, other);
            add_pairs_avx2(&even, _mm256_unpacklo_epi8(pairs, zero), _mm256_unpackhi_epi8(pairs, zero), low, high);
            pairs = _mm256_unpackhi_epi8(one, other);
            add_pairs_avx2(&odd, _mm256_unpacklo_epi8(pairs, zero), _mm256_unpackhi_epi8(pairs, zero), low, high);
        }
        _mm256_storeu_si256((__m256i *)(out + x), _mm256_packus_epi16(round_avx2(&even), round_avx2(&odd)));
    }
}

END_LEVEL

/* Four pixels are multiplied by four weights of 8 bits, and added up, in each of 16 lanes. So four columns of a turned
   block and four waiting rows stand side by side. */

BEGIN_TARGET(AVX512_TARGET)

static int64_t split_avx512(const char *weights, int64_t taps, int64_t skipped, int32_t *groups)
{
    return split_weights(weights, taps, skipped, groups, 2, 3);
}

/* Sums of sixteen lanes, for each digit. */
typedef struct {
    __m512i low, middle, high;
} SumsAvx512;

/* The digits of a group's weights, in each lane. */
typedef struct {
    __m512i low, middle, high;
} WeightsAvx512;

static inline SumsAvx512 no_sums_avx512(void)
{
    const __m512i half = _mm512_set1_epi32(1 << (PRECISION_BITS - 1)), zero = _mm512_setzero_si512();
    return (SumsAvx512){half, zero, zero};
}

static inline WeightsAvx512 spread_avx512(const int32_t *group)
{
    return (WeightsAvx512){_mm512_set1_epi32(group[0]), _mm512_set1_epi32(group[1]), _mm512_set1_epi32(group[2])};
}

static inline void add_fours_avx512(SumsAvx512 *sums, const uint8_t *bytes, const WeightsAvx512 *weights)
{
    __m512i pixels = _mm512_loadu_si512(bytes);
    sums->low = _mm512_dpbusd_epi32(sums->low, pixels, weights->low);
    sums->middle = _mm512_dpbusd_epi32(sums->middle, pixels, weights->middle);
    sums->high = _mm512_dpbusd_epi32(sums->high, pixels, weights->high);
}

static inline __m512i round_avx512(const SumsAvx512 *sums)
{
    __m512i upper = _mm512_add_epi32(sums->middle, _mm512_slli_epi32(sums->high, 8));
    return _mm512_srai_epi32(_mm512_add_epi32(sums->low, _mm512_slli_epi32(upper, 8)), PRECISION_BITS);
}

/* Four times 16 numbers, clipped to bytes: each 16 bytes hold four of the first, of the second, of the third, ... */
static inline __m512i clip_avx512(__m512i first, __m512i second, __m512i third, __m512i fourth)
{
    return _mm512_packus_epi16(_mm512_packs_epi32(first, second), _mm512_packs_epi32(third, fourth));
}

/* Sixteen bytes each of four rows. */
static inline __m512i load_four_avx512(const uint8_t *const *rows, int64_t at)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(load_two_avx2(rows[0] + at, rows[4] + at)),
                              load_two_avx2(rows[8] + at, rows[12] + at), 1);
}

static void turn_avx512(const uint8_t *const *rows, int64_t steps, uint8_t *block)
{
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
    for (int64_t step = 0; step < steps; step++, block += STEP * COLUMN_BYTES) {
        __m512i fours[4];
        for (int row = 0; row < 4; row++)
            fours[row] = _mm512_shuffle_epi8(load_four_avx512(rows + row, step * STEP_BYTES), order);
        __m512i red_green[2] = {_mm512_unpacklo_epi32(fours[0], fours[1]), _mm512_unpacklo_epi32(fours[2], fours[3])};
        __m512i blue[2] = {_mm512_unpackhi_epi32(fours[0], fours[1]), _mm512_unpackhi_epi32(fours[2], fours[3])};
        _mm512_storeu_si512(block, _mm512_unpacklo_epi64(red_green[0], red_green[1]));
        _mm512_storeu_si512(block + 64, _mm512_unpackhi_epi64(red_green[0], red_green[1]));
        _mm512_storeu_si512(block + 128, _mm512_unpacklo_epi64(blue[0], blue[1]));
    }
}

static void interleave_avx512(const uint8_t *const *rows, int64_t bytes, uint8_t *restrict line)
{
    const uint8_t *first = rows[0], *second = rows[1], *third = rows[2], *fourth = rows[3];
    for (int64_t x = 0; x < bytes; x++) {
        line[4 * x] = first[x];
        line[4 * x + 1] = second[x];
        line[4 * x + 2] = third[x];
        line[4 * x + 3] = fourth[x];
    }
}

/* One output column of a turned block: sixteen rows of each channel. */
typedef struct {
    __m512i red, green, blue;
} ColumnAvx512;

static inline ColumnAvx512 weigh_column_avx512(const Axis *axis, int64_t x, const uint8_t *block)
{
    SumsAvx512 red = no_sums_avx512(), green = red, blue = red;
    const uint8_t *pixels = block + axis->first[x] * COLUMN_BYTES;
    const int32_t *weights = axis->weights + x * axis->groups * 3;
    for (int64_t group = 0; group < axis->used[x]; group++, pixels += STEP * COLUMN_BYTES, weights += 3) {
        const WeightsAvx512 fours = spread_avx512(weights);
        add_fours_avx512(&red, pixels, &fours);
        add_fours_avx512(&green, pixels + 64, &fours);
        add_fours_avx512(&blue, pixels + 128, &fours);
    }
    return (ColumnAvx512){round_avx512(&red), round_avx512(&green), round_avx512(&blue)};
}

/* Writes four columns of a channel, clipped, to four lines of four interleaved rows. */
static inline void store_columns_avx512(__m512i first, __m512i second, __m512i third, __m512i fourth,
                                        uint8_t *const *lines, int64_t at)
{
    __m512i bytes = clip_avx512(first, second, third, fourth);
    _mm_storeu_si128((__m128i *)(lines[0] + at), _mm512_castsi512_si128(bytes));
    _mm_storeu_si128((__m128i *)(lines[1] + at), _mm512_extracti32x4_epi32(bytes, 1));
    _mm_storeu_si128((__m128i *)(lines[2] + at), _mm512_extracti32x4_epi32(bytes, 2));
    _mm_storeu_si128((__m128i *)(lines[3] + at), _mm512_extracti32x4_epi32(bytes, 3));
}

static void weigh_columns_avx512(const Axis *axis, const uint8_t *block, int64_t padded, uint8_t *const *lines)
{
    const int64_t last = axis->size - 1;
    for (int64_t x = 0; x < axis->size; x += 4) {
        ColumnAvx512 first = weigh_column_avx512(axis, x, block);
        ColumnAvx512 second = weigh_column_avx512(axis, x + 1 < last ? x + 1 : last, block);
        ColumnAvx512 third = weigh_column_avx512(axis, x + 2 < last ? x + 2 : last, block);
        ColumnAvx512 fourth = weigh_column_avx512(axis, x + 3 < last ? x + 3 : last, block);
        store_columns_avx512(first.red, second.red, third.red, fourth.red, lines, x * 4);
        store_columns_avx512(first.green, second.green, third.green, fourth.green, lines, (padded + x) * 4);
        store_columns_avx512(first.blue, second.blue, third.blue, fourth.blue, lines, (2 * padded + x) * 4);
    }
}

static void weigh_rows_avx512(const uint8_t *const *lines, int64_t at, const int32_t *weights, int64_t groups,
                              int64_t vectors, uint8_t *out)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (int64_t x = 0; x < vectors * 64; x += 64) {
        SumsAvx512 first = no_sums_avx512(), second = first, third = first, fourth = first;
        for (int64_t group = 0; group < groups; group++) {
            const WeightsAvx512 fours = spread_avx512(weights + 3 * group);
            const uint8_t *pixels = lines[group] + at + 4 * x;
            add_fours_avx512(&first, pixels, &fours);
            add_fours_avx512(&second, pixels + 64, &fours);
            add_fours_avx512(&third, pixels + 128, &fours);
            add_fours_avx512(&fourth, pixels + 192, &fours);
        }
        __m512i bytes = clip_avx512(round_avx512(&first), round_avx512(&second), round_avx512(&third),
                                    round_avx512(&fourth));
        _mm512_storeu_si512(out + x, _mm512_permutexvar_epi32(order, bytes));
    }
}

END_LEVEL

#endif

static const ResampleLoops RESAMPLE_LOOPS[NUM_LEVELS] = {
    [PLAIN] = {0, 1, 1, COLUMN_BYTES, PLAIN_LANES, split_plain, turn_plain, copy_row, weigh_columns_plain,
               weigh_rows_plain},
#if HAS_LEVELS
    [AVX2] = {1, 2, 1, PAIR_BYTES, 32, split_avx2, turn_avx2, copy_row, weigh_columns_avx2, weigh_rows_avx2},
    [AVX512] = {2, 3, 4, COLUMN_BYTES, 64, split_avx512, turn_avx512, interleave_avx512, weigh_columns_avx512,
                weigh_rows_avx512},
#endif
};

#endif
