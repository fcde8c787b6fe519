/* Normalising by multiplication, where that gives the bits of a division. */

#ifndef RESIZEONCE_SCALE_H
#define RESIZEONCE_SCALE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A divisor, and its inverse in two parts, each a float32: of x * inverse + x * rest, rounded once, most quotients come. */
typedef struct {
    float value, inverse, rest;
} Divisor;

/* How the levels of one channel are normalised. */
typedef struct {
    Divisor most; /* what levels are divided by first */
    float mean;
    Divisor std;
    int by_inverse; /* whether the inverses give the same bits for all 256 levels */
} Scale;

/* An image of three channels, and how much of it, from the top left corner, is picture: the rest is padding. */
typedef struct {
    int64_t height, width, shown_height, shown_width;
} Shape;

static inline Divisor make_divisor(float value)
{
    double exact = 1 / (double)value;
    float inverse = (float)exact;
    return (Divisor){value, inverse, (float)(exact - (double)inverse)};
}

static inline float divide_by(float value, const Divisor *divisor)
{
    return fmaf(value, divisor->inverse, value * divisor->rest);
}

/* Looks whether the inverses will do: so for any numbers, the bits are those of a division. */
static inline Scale make_scale(float most, float mean, float std)
{
    Scale scale = {make_divisor(most), mean, make_divisor(std), 1};
    for (int value = 0; value < 256; value++) {
        float divided = ((float)value / most - mean) / std;
        float multiplied = divide_by(divide_by((float)value, &scale.most) - mean, &scale.std);
        scale.by_inverse &= memcmp(&divided, &multiplied, sizeof divided) == 0;
    }
    return scale;
}

#endif
