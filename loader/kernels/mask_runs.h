/* Masks at their own size, from run lengths: down the columns, background first (cocodataset/cocoapi, common/maskApi.c).
   Included once for each level.

   The result goes by rows and runs go by columns: a column written at a time would touch a line of the cache for each
   pixel. So of 64 columns at a time it is noted at which rows they change between background and foreground, a bit each;
   then one pass down the rows undoes that, and writes what is covered. */

/* Fills with zeros, past the caches: an ordinary store first reads the line that it is going to overwrite from memory. */
static void LEVEL(clear_mask)(uint8_t *out, int64_t count)
{
#if HAS_AVX2
    static const uint8_t zeros[LINE];
    int64_t at = bytes_to_line(out, count);
    memset(out, 0, (size_t)at);
    for (; at + LINE <= count; at += LINE)
        LEVEL(stream_line)(out + at, zeros);
    memset(out + at, 0, (size_t)(count - at));
    finish_lines();
#else
    memset(out, 0, (size_t)count);
#endif
}

/* Writes a byte, 0 or 1, for each of the lowest `count` bits of a word. */
static inline void LEVEL(write_bits)(uint64_t word, uint8_t *out, int64_t count)
{
#if HAS_AVX512
    _mm512_mask_storeu_epi8(out, ~UINT64_C(0) >> (COLUMNS - count), _mm512_maskz_set1_epi8(word, 1));
#else
    uint8_t bytes[COLUMNS];
    uint8_t *whole = count == COLUMNS ? out : bytes;
#if HAS_AVX2
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit_of = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    for (int half = 0; half < 2; half++) {
        __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int)(word >> 32 * half)), byte_of);
        __m256i is_set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit_of), bit_of);
        _mm256_storeu_si256((__m256i *)whole + half, _mm256_and_si256(is_set, _mm256_set1_epi8(1)));
    }
#else
    for (int i = 0; i < COLUMNS / 8; i++) {
        /* The eight bits in each byte, of which it keeps its own; 0x7F carries that one to the top. */
        uint64_t kept = (word >> 8 * i & 255) * 0x0101010101010101u & 0x8040201008040201u;
        uint64_t spread = (kept + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;
        memcpy(whole + 8 * i, &spread, 8);
    }
#endif
    if (count < COLUMNS)
        memcpy(out, bytes, (size_t)count);
#endif
}

/* Writes the columns from `left` on, which change only in rows `top` to `bottom`; undoes `changes`. */
static void LEVEL(write_columns)(uint64_t *changes, int64_t top, int64_t bottom, int64_t left, int64_t width, uint8_t *out)
{
    const int64_t count = width - left < COLUMNS ? width - left : COLUMNS;
    uint64_t covered = 0;
    for (int64_t y = top; y < bottom; y++) {
        covered ^= changes[y];
        changes[y] = 0;
        if (covered)
            LEVEL(write_bits)(covered, out + y * width + left, count);
    }
    changes[bottom] = 0;
}

/* Writes what a mask covers; the rest of `out` stays. Returns whether the runs fill the mask: else anything may be written.

   `runs`: uint32 [count], which need not be aligned, and may change meanwhile: their file may be written over. `changes`:
   zero, a word for each row and one more. */
static int LEVEL(expand_runs)(const uint8_t *runs, int64_t count, int64_t height, int64_t width, uint64_t *changes,
                              uint8_t *out)
{
    const int64_t pixels = height * width;
    int64_t end = 0, left = 0, top = height, bottom = 0;
    for (int64_t at = 0; at < count; at += 2) {
        uint32_t pair[2] = {0, 0};
        memcpy(pair, runs + 4 * at, at + 1 < count ? 8 : 4);
        int64_t from = end + pair[0];
        end = from + pair[1];
        if (end > pixels)
            return 0;
        if (from == end)
            continue;
        int64_t column = from / height, first = from - column * height;
        for (; from < end; column++, first = 0) {
            const int64_t stop = end - from < height - first ? first + end - from : height;
            if (column - left >= COLUMNS) {
                LEVEL(write_columns)(changes, top, bottom, left, width, out);
                left = column - column % COLUMNS, top = height, bottom = 0;
            }
            const uint64_t bit = UINT64_C(1) << (column - left);
            changes[first] ^= bit;
            changes[stop] ^= bit;
            top = first < top ? first : top;
            bottom = stop > bottom ? stop : bottom;
            from += stop - first;
        }
    }
    LEVEL(write_columns)(changes, top, bottom, left, width, out);
    return end == pixels;
}
