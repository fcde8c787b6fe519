/* Images that are stored compact (`loader.format.gradient`) straight into a batch; included once for each level.

   A row is unpacked into room that stays in the processor's cache, and goes from there to its place past the caches:
   copied, or normalised. */

#if HAS_AVX512

/* Unpacks eight groups, whose numbers of bits are in four bytes: a byte for each value. Returns how many bytes they took.

   64 bytes of `payload` are read. */
static inline int64_t LEVEL(spread_eight)(const uint8_t *payload, uint32_t pairs, uint8_t *out)
{
    const uint64_t bits = _pdep_u64(pairs, 0x0F0F0F0F0F0F0F0F);
    const __m128i each = _mm_cvtsi64_si128((int64_t)bits);
    const __m512i numbers = _mm512_cvtepu8_epi64(each);
    /* A group has as many bytes as its values have bits: they become the first ones of a word. */
    const __m128i ones = _mm_shuffle_epi8(_mm_setr_epi8(0, 1, 3, 7, 15, 31, 63, 127, -1, 0, 0, 0, 0, 0, 0, 0), each);
    __m512i words = _mm512_maskz_expand_epi8((__mmask64)_mm_cvtsi128_si64(ones), _mm512_loadu_si512(payload));
    /* Value i begins at bit i times the number of bits; of that byte, so many bits are its own. */
    __m512i places = _mm512_permutex2var_epi64(_mm512_loadu_si512(PLACES), numbers, _mm512_loadu_si512(PLACES + 8));
    __m512i masks = _mm512_permutex2var_epi64(_mm512_loadu_si512(MASKS), numbers, _mm512_loadu_si512(MASKS + 8));
    _mm512_storeu_si512(out, _mm512_and_si512(_mm512_multishift_epi64_epi8(places, words), masks));
    return (int64_t)(bits * 0x0101010101010101 >> 56);
}

#endif

/* A byte for each of the eight values of a group, which are so many bits each. */
static inline uint64_t LEVEL(spread)(uint64_t word, int bits)
{
#if HAS_AVX2
    if (has_fast_deposit)
        return _pdep_u64(word, MASKS[bits]);
#endif
    /* The upper half of the values moves to the upper half of the word, then the upper quarters, then each one. */
    word = (word & HALVES[0][bits]) | (word >> 4 * bits & HALVES[0][bits]) << 32;
    word = (word & HALVES[1][bits]) | (word >> 2 * bits & HALVES[1][bits]) << 16;
    return (word & HALVES[2][bits]) | (word >> bits & HALVES[2][bits]) << 8;
}

/* Unpacks the values of a row; returns how many bytes of `payload`, which has `left`, they took. `values` has room for all. */
static int64_t LEVEL(spread_row)(const uint8_t *pairs, int64_t num_pairs, const uint8_t *payload, int64_t left, uint8_t *values)
{
    int64_t at = 0, pair = 0;
#if HAS_AVX512
    for (; pair + 4 <= num_pairs && left - at >= 64; pair += 4) {
        uint32_t eight;
        memcpy(&eight, pairs + pair, 4);
        at += LEVEL(spread_eight)(payload + at, eight, values + 2 * GROUP * pair);
    }
#else
    (void)left;
#endif
    for (; pair < num_pairs; pair++)
        for (int half = 0; half < 2; half++) {
            int bits = half ? pairs[pair] >> 4 : pairs[pair] & 15;
            uint64_t word = LEVEL(spread)(load_word(payload + at), bits);
            memcpy(values + GROUP * (2 * pair + half), &word, 8);
            at += bits;
        }
    return at;
}

#if HAS_AVX512

enum { LEVEL(SUMMED) = 64 };
typedef __m512i LEVEL(Bytes);

static inline LEVEL(Bytes) LEVEL(load)(const uint8_t *bytes)
{
    return _mm512_loadu_si512(bytes);
}

static inline void LEVEL(store)(uint8_t *bytes, LEVEL(Bytes) values)
{
    _mm512_storeu_si512(bytes, values);
}

static inline LEVEL(Bytes) LEVEL(add)(LEVEL(Bytes) one, LEVEL(Bytes) other)
{
    return _mm512_add_epi8(one, other);
}

/* The cumulative sums of what folded values stand for; all that came before is in `before`, which goes on. */
static inline LEVEL(Bytes) LEVEL(sum_up)(const uint8_t *folded, LEVEL(Bytes) *before)
{
    /* Bit j of what a byte stands for is its bit j + 1, and its lowest, which is the sign. */
    const __m512i unfolding = _mm512_set1_epi64(UNFOLDING);
    __m512i total = _mm512_gf2p8affine_epi64_epi8(_mm512_loadu_si512(folded), unfolding, 0);
    total = _mm512_add_epi8(total, _mm512_bslli_epi128(total, 1));
    total = _mm512_add_epi8(total, _mm512_bslli_epi128(total, 2));
    total = _mm512_add_epi8(total, _mm512_bslli_epi128(total, 4));
    total = _mm512_add_epi8(total, _mm512_bslli_epi128(total, 8));
    /* To each lane of 16 bytes go the last sum of the one before it, then those of the two before these. */
    const __m512i places = _mm512_loadu_si512(LAST_OF_LANES);
    __m512i lanes = _mm512_maskz_permutexvar_epi8(0xFFFFFFFFFFFF0000, places, total);
    total = _mm512_add_epi8(total, lanes);
    total = _mm512_add_epi8(total, _mm512_maskz_shuffle_i64x2(0xF0, lanes, lanes, 0x90));
    total = _mm512_add_epi8(total, _mm512_maskz_shuffle_i64x2(0xC0, lanes, lanes, 0x40));
    __m512i sums = _mm512_add_epi8(total, *before);
    *before = _mm512_add_epi8(*before, _mm512_permutexvar_epi8(_mm512_set1_epi8(63), total));
    return sums;
}

#elif HAS_AVX2

enum { LEVEL(SUMMED) = 32 };
typedef __m256i LEVEL(Bytes);

static inline LEVEL(Bytes) LEVEL(load)(const uint8_t *bytes)
{
    return _mm256_loadu_si256((const __m256i *)bytes);
}

static inline void LEVEL(store)(uint8_t *bytes, LEVEL(Bytes) values)
{
    _mm256_storeu_si256((__m256i *)bytes, values);
}

static inline LEVEL(Bytes) LEVEL(add)(LEVEL(Bytes) one, LEVEL(Bytes) other)
{
    return _mm256_add_epi8(one, other);
}

/* The cumulative sums of what folded values stand for; all that came before is in `before`, which goes on. */
static inline LEVEL(Bytes) LEVEL(sum_up)(const uint8_t *folded, LEVEL(Bytes) *before)
{
    __m256i values = LEVEL(load)(folded);
    __m256i half = _mm256_and_si256(_mm256_srli_epi16(values, 1), _mm256_set1_epi8(127));
    __m256i sign = _mm256_sub_epi8(_mm256_setzero_si256(), _mm256_and_si256(values, _mm256_set1_epi8(1)));
    __m256i total = _mm256_xor_si256(half, sign);
    total = _mm256_add_epi8(total, _mm256_bslli_epi128(total, 1));
    total = _mm256_add_epi8(total, _mm256_bslli_epi128(total, 2));
    total = _mm256_add_epi8(total, _mm256_bslli_epi128(total, 4));
    total = _mm256_add_epi8(total, _mm256_bslli_epi128(total, 8));
    /* To the upper lane of 16 bytes goes the last sum of the lower one. */
    __m256i lanes = _mm256_shuffle_epi8(total, _mm256_set1_epi8(15));
    total = _mm256_add_epi8(total, _mm256_permute2x128_si256(lanes, lanes, 0x08));
    __m256i sums = _mm256_add_epi8(total, *before);
    lanes = _mm256_shuffle_epi8(total, _mm256_set1_epi8(15));
    *before = _mm256_add_epi8(*before, _mm256_permute2x128_si256(lanes, lanes, 0x11));
    return sums;
}

#endif

/* What a folded number stands for, modulo 256: 0, -1, 1, -2, ... for 0, 1, 2, 3, ... */
static inline uint8_t LEVEL(unfold)(uint8_t value)
{
    return (uint8_t)(value >> 1 ^ -(value & 1));
}

/* Makes of the row above the next one, three channels of `width` bytes: it grows by the cumulative sums of its values, of red
   and blue by those of green's, too. */
static void LEVEL(sum_row)(const uint8_t *restrict values, uint8_t *restrict row, int64_t width)
{
    uint8_t *const greens = row + width, *const blues = row + 2 * width;
    int64_t x = 0;
    uint8_t red = 0, green = 0, blue = 0;
#if HAS_AVX2
    /* The three channels take turns, for each sum waits for the one to its left. */
    LEVEL(Bytes) before[3];
    memset(before, 0, sizeof before);
    for (; x + LEVEL(SUMMED) <= width; x += LEVEL(SUMMED)) {
        LEVEL(Bytes) shared = LEVEL(sum_up)(values + width + x, &before[1]);
        LEVEL(Bytes) reds = LEVEL(add)(shared, LEVEL(sum_up)(values + x, &before[0]));
        LEVEL(Bytes) others = LEVEL(add)(shared, LEVEL(sum_up)(values + 2 * width + x, &before[2]));
        LEVEL(store)(greens + x, LEVEL(add)(LEVEL(load)(greens + x), shared));
        LEVEL(store)(row + x, LEVEL(add)(LEVEL(load)(row + x), reds));
        LEVEL(store)(blues + x, LEVEL(add)(LEVEL(load)(blues + x), others));
    }
    memcpy(&red, &before[0], 1), memcpy(&green, &before[1], 1), memcpy(&blue, &before[2], 1);
#endif
    for (; x < width; x++) {
        red += LEVEL(unfold)(values[x]);
        green += LEVEL(unfold)(values[width + x]);
        blue += LEVEL(unfold)(values[2 * width + x]);
        row[x] += (uint8_t)(red + green);
        greens[x] += green;
        blues[x] += (uint8_t)(blue + green);
    }
}

/* Writes an image; returns whether it was a packed one of this size. Adds the bytes to the remainder where there is one.

   `out` is uint8 [3, H, W], or float32 where there are scales. */
static int LEVEL(unpack)(const Packed *packed, Lines *lines, void *out, const Scale *scales, uint32_t *crc)
{
    const int64_t height = packed->shape.height, width = packed->shape.width, per_row = pairs_of_row(width);
    const int64_t num_pairs = height * per_row;
    if (packed->size < num_pairs + SLACK_BYTES)
        return 0;
    /* Looked at and used in a copy: another process may write over the file meanwhile, and no number may lead out of it. */
    memcpy(lines->pairs, packed->bytes, (size_t)num_pairs);
    if (!takes_bytes(lines->pairs, num_pairs, packed->size - num_pairs - SLACK_BYTES))
        return 0;
    const uint8_t *payload = packed->bytes + num_pairs, *const end = packed->bytes + packed->size;
    const uint8_t *summed = packed->bytes;
    memset(lines->row, 0, (size_t)(3 * width));
    for (int64_t y = 0; y < height; y++) {
        payload += LEVEL(spread_row)(lines->pairs + y * per_row, per_row, payload, end - payload, lines->values);
        /* Several rows at once, while they are in the nearest cache: of a few bytes each takes longer. */
        if (crc && payload - summed >= SUMMED_BYTES) {
            *crc = LEVEL(add_bytes)(*crc, summed, payload - summed);
            summed = payload;
        }
        LEVEL(sum_row)(lines->values, lines->row, width);
        for (int channel = 0; channel < 3; channel++) {
            const uint8_t *levels = lines->row + channel * width;
            const int64_t place = (channel * height + y) * width;
            if (scales)
                LEVEL(normalize_row)(levels, (float *)out + place, &packed->shape, y, &scales[channel]);
            else
                LEVEL(copy)(levels, (uint8_t *)out + place, width);
        }
    }
    if (crc)
        *crc = LEVEL(add_bytes)(*crc, summed, end - summed);
    return 1;
}
