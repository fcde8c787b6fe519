/* From a stored row to its place in a batch, past the processor's caches; included once for each level.

   A batch is larger than the caches. An ordinary store first reads the line that it is going to overwrite from memory; a
   streamed one writes whole lines, and leaves in the caches what is there. */

/* Adds eight bytes to a remainder. */
static inline uint32_t LEVEL(add_word)(uint32_t crc, uint64_t word)
{
#if HAS_AVX2
    return (uint32_t)_mm_crc32_u64(crc, word);
#else
    word ^= crc;
    uint32_t sum = 0;
    for (int k = 0; k < 8; k++)
        sum ^= CRC_TABLE[7 - k][word >> 8 * k & 255];
    return sum;
#endif
}

#if HAS_AVX2

/* Stores a line of bytes without reading it first; `out` is at the beginning of one. */
static inline void LEVEL(stream_line)(void *out, const void *line)
{
    __m256i first = _mm256_loadu_si256(line), second = _mm256_loadu_si256((const __m256i *)line + 1);
    _mm256_stream_si256(out, first);
    _mm256_stream_si256((__m256i *)out + 1, second);
}

#endif

#if HAS_AVX512

/* Multiplies 64 bytes to stand FOLDED bytes later, and adds what is there. */
static inline __m512i LEVEL(fold)(__m512i folded, __m512i by, __m512i bytes)
{
    __m512i low = _mm512_clmulepi64_epi128(folded, by, 0x00), high = _mm512_clmulepi64_epi128(folded, by, 0x11);
    return _mm512_ternarylogic_epi64(low, high, bytes, 0x96);
}

#endif

/* The remainder after `count` more bytes, one word after the other. */
static uint32_t LEVEL(add_words)(uint32_t crc, const uint8_t *bytes, int64_t count)
{
    for (; count >= 8; count -= 8, bytes += 8)
        crc = LEVEL(add_word)(crc, load_word(bytes));
    for (; count; count--, bytes++)
        crc = crc >> 8 ^ CRC_TABLE[0][(crc ^ *bytes) & 255];
    return crc;
}

/* The remainder after whole blocks of `count` bytes, of which `taken` says how long they are together. Where there is `out`,
   which begins with a line, they are copied to it as well; plain loops have none. */
static inline uint32_t LEVEL(add_blocks)(uint32_t crc, const uint8_t *in, uint8_t *out, int64_t count, int64_t *taken)
{
    int64_t at = 0;
#if HAS_AVX512
    if (count >= 2 * FOLDED) {
        const __m512i by = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)CRC_FOLD));
        __m512i folded[4];
        for (int part = 0; part < 4; part++) {
            folded[part] = _mm512_loadu_si512(in + LINE * part);
            if (out)
                _mm512_stream_si512((void *)(out + LINE * part), folded[part]);
        }
        folded[0] = _mm512_xor_si512(folded[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
        for (at = FOLDED; at + FOLDED <= count; at += FOLDED)
            for (int part = 0; part < 4; part++) {
                const int64_t place = at + LINE * part;
                const __m512i line = _mm512_loadu_si512(in + place);
                if (out) {
                    __builtin_prefetch(in + place + AHEAD);
                    _mm512_stream_si512((void *)(out + place), line);
                }
                folded[part] = LEVEL(fold)(folded[part], by, line);
            }
        uint8_t rest[FOLDED];
        memcpy(rest, folded, FOLDED);
        crc = LEVEL(add_words)(0, rest, FOLDED);
    }
#else
    const int64_t blocks = count / CRC_BLOCK;
#if HAS_AVX2
    for (int64_t place = 0; out && blocks && place < CRC_BLOCK; place += LINE)
        LEVEL(stream_line)(out + place, in + place);
#endif
    for (; at < blocks * CRC_BLOCK; at += CRC_BLOCK) {
        uint32_t second = 0, third = 0;
        for (int place = 0; place < STRETCH; place += LINE) {
#if HAS_AVX2
            /* What is copied meanwhile is the next block, line by line: memory is read and written in its order, and what is
               added is in the nearest cache already. */
            const int64_t next = at + CRC_BLOCK + 3 * place;
            for (int line = 0; out && next < blocks * CRC_BLOCK && line < 3 * LINE; line += LINE) {
                __builtin_prefetch(in + next + line + AHEAD);
                LEVEL(stream_line)(out + next + line, in + next + line);
            }
#else
            (void)out;
#endif
            for (const uint8_t *word = in + at + place; word < in + at + place + LINE; word += 8) {
                crc = LEVEL(add_word)(crc, load_word(word));
                second = LEVEL(add_word)(second, load_word(word + STRETCH));
                third = LEVEL(add_word)(third, load_word(word + 2 * STRETCH));
            }
        }
        crc = join_crc(crc, second, third);
    }
#endif
    *taken = at;
    return crc;
}

/* The remainder after `count` more bytes. */
static uint32_t LEVEL(add_bytes)(uint32_t crc, const uint8_t *bytes, int64_t count)
{
    int64_t taken;
    crc = LEVEL(add_blocks)(crc, bytes, NULL, count, &taken);
    return LEVEL(add_words)(crc, bytes + taken, count - taken);
}

/* Copies bytes. */
static void LEVEL(copy)(const uint8_t *restrict in, uint8_t *restrict out, int64_t count)
{
    int64_t at = 0;
#if HAS_AVX2
    at = bytes_to_line(out, count);
    memcpy(out, in, (size_t)at);
    for (; at + LINE <= count; at += LINE) {
        __builtin_prefetch(in + at + AHEAD);
        LEVEL(stream_line)(out + at, in + at);
    }
#endif
    memcpy(out + at, in + at, (size_t)(count - at));
}

/* Copies bytes, and returns the remainder after them: both in one pass, so that the sum is hidden behind the memory. */
static uint32_t LEVEL(copy_checked)(uint32_t crc, const uint8_t *restrict in, uint8_t *restrict out, int64_t count)
{
#if HAS_AVX2
    int64_t head = bytes_to_line(out, count), taken;
    crc = LEVEL(add_words)(crc, in, head);
    memcpy(out, in, (size_t)head);
    in += head, out += head, count -= head;
    crc = LEVEL(add_blocks)(crc, in, out, count, &taken);
    in += taken, out += taken, count -= taken;
#endif
    LEVEL(copy)(in, out, count);
    return LEVEL(add_bytes)(crc, in, count);
}

#if HAS_AVX2

/* Writes eight floats: levels as (level / most - mean) / std, each step rounded. */
static inline void LEVEL(normalize_eight)(const uint8_t *in, float *out, const Scale *scale)
{
    __m256 value = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)in)));
    __m256 small = _mm256_mul_ps(value, _mm256_set1_ps(scale->most.rest));
    value = _mm256_fmadd_ps(value, _mm256_set1_ps(scale->most.inverse), small);
    value = _mm256_sub_ps(value, _mm256_set1_ps(scale->mean));
    small = _mm256_mul_ps(value, _mm256_set1_ps(scale->std.rest));
    _mm256_stream_ps(out, _mm256_fmadd_ps(value, _mm256_set1_ps(scale->std.inverse), small));
}

/* Writes eight floats: 0 where bytes are 0, else 1. */
static inline void LEVEL(widen_eight)(const uint8_t *in, float *out)
{
    __m128i ones = _mm_min_epu8(_mm_loadl_epi64((const __m128i *)in), _mm_set1_epi8(1));
    _mm256_stream_ps(out, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(ones)));
}

#endif

static void LEVEL(divide)(const uint8_t *restrict in, float *restrict out, int64_t count, const Scale *scale)
{
    const float most = scale->most.value, mean = scale->mean, std = scale->std.value;
    for (int64_t i = 0; i < count; i++)
        out[i] = ((float)in[i] / most - mean) / std;
}

/* Writes levels as (level / most - mean) / std, each step rounded to float32. */
static void LEVEL(normalize)(const uint8_t *restrict in, float *restrict out, int64_t count, const Scale *scale)
{
    int64_t at = 0;
#if HAS_AVX2
    if (scale->by_inverse) {
        at = floats_to_line(out, count);
        LEVEL(divide)(in, out, at, scale);
        for (; at + FLOATS <= count; at += FLOATS) {
            __builtin_prefetch(in + at + AHEAD);
            LEVEL(normalize_eight)(in + at, out + at, scale);
            LEVEL(normalize_eight)(in + at + 8, out + at + 8, scale);
        }
    }
#endif
    LEVEL(divide)(in + at, out + at, count - at, scale);
}

/* Writes pixels as float32: 0 where they are 0, else 1. */
static void LEVEL(widen)(const uint8_t *restrict in, float *restrict out, int64_t count)
{
    int64_t at = 0;
#if HAS_AVX2
    for (const int64_t head = floats_to_line(out, count); at < head; at++)
        out[at] = in[at] != 0;
    for (; at + FLOATS <= count; at += FLOATS) {
        LEVEL(widen_eight)(in + at, out + at);
        LEVEL(widen_eight)(in + at + 8, out + at + 8);
    }
#endif
    for (; at < count; at++)
        out[at] = in[at] != 0;
}

#if HAS_AVX2

/* Writes eight floats from the bits of a byte. */
static inline void LEVEL(widen_byte)(uint8_t byte, float *out)
{
    const __m256i weights = _mm256_setr_epi32(128, 64, 32, 16, 8, 4, 2, 1);
    __m256i is_set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(byte), weights), weights);
    _mm256_stream_ps(out, _mm256_and_ps(_mm256_castsi256_ps(is_set), _mm256_set1_ps(1)));
}

#endif

/* Writes bits as float32, the first in the highest bit of a byte. */
static void LEVEL(widen_bits)(const uint8_t *restrict in, float *restrict out, int64_t count)
{
    int64_t at = 0;
#if HAS_AVX2
    for (; (uintptr_t)out % 32 == 0 && at + 8 <= count; at += 8)
        LEVEL(widen_byte)(in[at / 8], out + at);
#endif
    for (; at < count; at++)
        out[at] = (float)(in[at / 8] >> (7 - at % 8) & 1);
}

/* Writes pixels as bits: the other way around. `out` has (count + 7) / 8 bytes. */
static void LEVEL(pack_bits)(const uint8_t *restrict in, uint8_t *restrict out, int64_t count)
{
    int64_t at = 0;
    for (; at + 8 <= count; at += 8)
        /* Byte k, which is 0 or 1, moves to bit 63 - k; no two of the products meet. */
        out[at / 8] = (uint8_t)(load_word(in + at) * 0x8040201008040201u >> 56);
    if (at < count) {
        out[at / 8] = 0;
        for (int bit = 0; at + bit < count; bit++)
            out[at / 8] |= (uint8_t)(in[at + bit] << (7 - bit));
    }
}

/* Writes zeros. */
static void LEVEL(clear)(float *out, int64_t count)
{
    int64_t at = 0;
#if HAS_AVX2
    for (const int64_t head = floats_to_line(out, count); at < head; at++)
        out[at] = 0;
    for (; at + 8 <= count; at += 8)
        _mm256_stream_ps(out + at, _mm256_setzero_ps());
#endif
    for (; at < count; at++)
        out[at] = 0;
}

/* Writes a row of an image: what is shown of the picture, and zeros around it. */
static inline void LEVEL(normalize_row)(const uint8_t *in, float *out, const Shape *shape, int64_t y, const Scale *scale)
{
    const int64_t shown = y < shape->shown_height ? shape->shown_width : 0;
    LEVEL(normalize)(in, out, shown, scale);
    LEVEL(clear)(out + shown, shape->width - shown);
}

/* Writes an image of three channels, and returns the remainder after its bytes.

   Whole pictures are one long row a channel. */
static uint32_t LEVEL(normalize_image)(uint32_t crc, const uint8_t *in, float *out, const Shape *shape, const Scale *scales,
                                       int is_checked)
{
    const int is_whole = shape->shown_height == shape->height && shape->shown_width == shape->width;
    const int64_t count = shape->height * shape->width;
    const int64_t rows = shape->width < CRC_BLOCK ? CRC_BLOCK / shape->width : 1;
    const int64_t block = is_whole ? CRC_BLOCK : rows * shape->width;
    for (int channel = 0; channel < 3; channel++)
        for (int64_t at = 0; at < count; at += block) {
            const int64_t here = count - at < block ? count - at : block;
            const uint8_t *levels = in + channel * count + at;
            float *place = out + channel * count + at;
            if (is_checked)
                crc = LEVEL(add_bytes)(crc, levels, here);
            if (is_whole)
                LEVEL(normalize)(levels, place, here, &scales[channel]);
            for (int64_t row = 0; !is_whole && row < here; row += shape->width)
                LEVEL(normalize_row)(levels + row, place + row, shape, (at + row) / shape->width, &scales[channel]);
        }
    return crc;
}
