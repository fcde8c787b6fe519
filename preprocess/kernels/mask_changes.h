/* Which pixels of a mask differ from the ones above: one pass over all of it, so it is compiled for each level.

   Included several times; LEVEL(name) is a name of that level. */

/* Writes which of pixels `at` to `at` + 64 differ from those above; returns how many have been found. */
static inline int64_t LEVEL(compare_rows)(const uint8_t *pixels, int64_t at, int64_t width, uint32_t *changes, int64_t found)
{
    uint64_t now[8], above[8], differing = 0;
    memcpy(now, pixels + at, 64);
    memcpy(above, pixels + at - width, 64);
    for (int i = 0; i < 8; i++) {
        now[i] ^= above[i];
        differing |= now[i];
    }
    if (differing)
        for (int i = 0; i < 8; i++)
            for (uint64_t word = now[i]; word;) {
                int byte = __builtin_ctzll(word) / 8;
                changes[found++] = (uint32_t)(at + 8 * i + byte);
                word &= ~(UINT64_C(255) << 8 * byte);
            }
    return found;
}

/* Writes which pixels differ from those above, and all of the first row; returns how many there are.

   Once there are more than `most`, the rest is not looked at. `changes`: [most + 64]; `most` >= width. */
static int64_t LEVEL(find_changes)(const uint8_t *pixels, int64_t size, int64_t width, int64_t most, uint32_t *changes)
{
    int64_t found = 0, at = width;
    while (found < width && found < size)
        changes[found] = (uint32_t)found, found++;
    for (; at + 64 <= size && found <= most; at += 64)
        found = LEVEL(compare_rows)(pixels, at, width, changes, found);
    for (; at < size && found <= most; at++)
        if (pixels[at] != pixels[at - width])
            changes[found++] = (uint32_t)at;
    return found;
}
