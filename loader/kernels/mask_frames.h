/* Masks from the frames that `loader.format.mask_codec` makes straight into a batch; included once for each level.

   libzstd would write a mask's bytes, which are then read again and widened. These frames say little more than where a row
   differs from the one above: the loop below keeps one row, changes it, and writes it out when it is full. It reads that
   kind of Zstandard frames only (RFC 8878), and believes nothing: what it finds out of the ordinary is left to libzstd. */

/* Writes out a full row; the next begins behind it. */
static inline void LEVEL(write_row)(Row *row)
{
    if (row->floats)
        LEVEL(widen)(row->pixels, row->floats + row->begin, row->width);
    else
        LEVEL(pack_bits)(row->pixels, row->bits + row->begin / row->width * ((row->width + 7) / 8), row->width);
    row->begin += row->width;
    row->x = 0;
}

/* Adds single pixels. */
static inline void LEVEL(add_literals)(Row *row, const uint8_t *literals, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        row->pixels[row->x++] = literals[i] != 0;
        if (row->x == row->width)
            LEVEL(write_row)(row);
    }
}

/* Adds pixels that equal the last one. */
static inline void LEVEL(repeat)(Row *row, int64_t count)
{
    uint8_t pixel = row->pixels[row->x ? row->x - 1 : row->width - 1];
    while (count) {
        int64_t here = count < row->width - row->x ? count : row->width - row->x;
        memset(row->pixels + row->x, pixel, (size_t)here);
        row->x += here;
        count -= here;
        if (row->x == row->width)
            LEVEL(write_row)(row);
    }
}

/* Adds pixels that equal those above. */
static inline void LEVEL(skip)(Row *row, int64_t count)
{
    while (count >= row->width - row->x) {
        count -= row->width - row->x;
        LEVEL(write_row)(row);
    }
    row->x += count;
}

/* Goes on with a compressed block; returns whether it is whole and of the known kind. */
static int LEVEL(expand_block)(const uint8_t *block, int64_t size, Offsets *recent, Row *row)
{
    Sections sections;
    if (!read_sections(block, size, &sections))
        return 0;
    const uint8_t *literal = block + LITERALS, *const literals_end = block + sections.literals_end;
    const int64_t written = row->begin + row->x;
    const int64_t stop = written + BLOCK < row->size ? written + BLOCK : row->size;
    Bits bits = {.bytes = block, .left = 8 * sections.bits_begin, .least = 8 * sections.bits_begin};
    int ll_state = 0, of_state = 0, ml_state = 0;
    if (sections.num_sequences) {
        if (size < 8 || !block[size - 1])
            return 0;
        /* Bits are read from the end; the highest that is set only marks where they begin. */
        bits.left = 8 * size - 1;
        while (!(block[size - 1] >> (bits.left & 7)))
            bits.left--;
        if (!hold(&bits, 17))
            return 0;
        ll_state = take(&bits, 6), of_state = take(&bits, 5), ml_state = take(&bits, 6);
    }
    for (int left = sections.num_sequences; left; left--) {
        const Step *of = &OF_STEPS[of_state], *ml = &ML_STEPS[ml_state], *ll = &LL_STEPS[ll_state];
        /* Eight bytes, of which seven bits may be used already, hold 57: offset and match together are 44 at most. */
        if (!hold(&bits, of->extra_bits + ml->extra_bits))
            return 0;
        int64_t number = of->smallest + take(&bits, of->extra_bits);
        int64_t match = ml->smallest + take(&bits, ml->extra_bits);
        if (!hold(&bits, ll->extra_bits + (left > 1 ? ll->bits + ml->bits + of->bits : 0)))
            return 0;
        int64_t count = ll->smallest + take(&bits, ll->extra_bits);
        if (left > 1) {
            ll_state = ll->base + take(&bits, ll->bits);
            ml_state = ml->base + take(&bits, ml->bits);
            of_state = of->base + take(&bits, of->bits);
        }
        if (count > literals_end - literal || row->begin + row->x + count + match > stop)
            return 0;
        LEVEL(add_literals)(row, literal, count);
        literal += count;
        int64_t offset = recall(recent, number, count == 0), now = row->begin + row->x;
        if (offset == row->width && now >= row->width)
            LEVEL(skip)(row, match);
        else if (offset == 1 && now)
            LEVEL(repeat)(row, match);
        else
            return 0;
    }
    if (bits.left != bits.least || row->begin + row->x + (literals_end - literal) > stop)
        return 0;
    LEVEL(add_literals)(row, literal, literals_end - literal);
    return 1;
}

/* Writes a mask; returns whether its frame is whole and of the known kind. Else any of it may be written. */
static int LEVEL(expand)(const uint8_t *frame, int64_t size, Row *row)
{
    int64_t at = read_frame_header(frame, size, row->size);
    if (at < 0 || row->size % row->width)
        return 0;
    Offsets recent = {{1, 4, 8}};
    for (int is_last = 0; !is_last;) {
        if (size - at < 3)
            return 0;
        int64_t header = load_number(frame + at, 3), count = header >> 3;
        at += 3;
        is_last = header & 1;
        /* Compressed blocks only. */
        if ((header >> 1 & 3) != 2 || count > size - at || count > BLOCK)
            return 0;
        if (!LEVEL(expand_block)(frame + at, count, &recent, row))
            return 0;
        at += count;
    }
    return at == size && row->begin + row->x == row->size;
}
