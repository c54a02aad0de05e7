/* The network in 32 bits, for tables and frames whose bounds say that nothing overflows: _native.c checks them.

Included once for every width of vectors, with NAME(x), TARGET, LANES (32-bit numbers in a vector), TILE and WIDE
(frames by vectors of sums that fit the registers), Vec, V(x) (the name of an instruction), LOAD, STORE, DOT, RELU and
FOLD (the sum of all 128-bit lanes) defined. Rows of weights are read as the model has them and interleaved
on the fly, so that one instruction multiplies 16-bit weights of two rows by a pair of 16-bit factors and adds both
products to a 32-bit sum. Interleaving leaves the sums of 2 * LANES units in another order, the same everywhere: packing
to 16 bits undoes it. place() in _native.c puts biases in that order. Widths are multiples of 32. */

/* Sums of `panel` vectors of units, of so many frames: what they begin with, and for every pair of factors two rows by
them. Sums stay in registers; a weight is read once for all frames. */
TARGET INLINE void NAME(sum_panel)(const int16_t *weights, const int32_t *rows, int pairs, const int32_t *factors,
                                   int stride, const int32_t *from, int from_stride, int32_t *sums, int width,
                                   const int frames, const int panel)
{
    Vec sum[8][8];
#pragma GCC unroll 8
    for (int f = 0; f < frames; f++)
#pragma GCC unroll 8
        for (int v = 0; v < panel; v++)
            sum[f][v] = LOAD(from + (size_t)f * from_stride + v * LANES);
    for (int p = 0; p < pairs; p++) {
        const int16_t *a = weights + (size_t)rows[2 * p] * width, *b = weights + (size_t)rows[2 * p + 1] * width;
#pragma GCC unroll 8
        for (int v = 0; v < panel; v += 2) {
            Vec one = LOAD(a + v * LANES), other = LOAD(b + v * LANES);
            Vec low = V(unpacklo_epi16)(one, other), high = V(unpackhi_epi16)(one, other);
#pragma GCC unroll 8
            for (int f = 0; f < frames; f++) {
                Vec factor = V(set1_epi32)(factors[(size_t)f * stride + p]);
                sum[f][v] = DOT(sum[f][v], low, factor);
                sum[f][v + 1] = DOT(sum[f][v + 1], high, factor);
            }
        }
    }
#pragma GCC unroll 8
    for (int f = 0; f < frames; f++)
#pragma GCC unroll 8
        for (int v = 0; v < panel; v++)
            STORE(sums + (size_t)f * width + v * LANES, sum[f][v]);
}

TARGET static void NAME(sum_products)(const int16_t *weights, int width, const int32_t *rows, int pairs,
                                      const int32_t *factors, int stride, int frames, const int32_t *from,
                                      int from_stride, int32_t *sums)
{
    for (int f = 0; f < frames;) {
        const int32_t *here = factors + (size_t)f * stride, *begin = from + (size_t)f * from_stride;
        int32_t *out = sums + (size_t)f * width;
        int many = frames - f >= TILE, h = 0;
        if (many)
            for (; h + WIDE * LANES <= width; h += WIDE * LANES)
                NAME(sum_panel)(weights + h, rows, pairs, here, stride, begin + h, from_stride, out + h, width, TILE,
                                WIDE);
        else
            for (; h + 8 * LANES <= width; h += 8 * LANES)
                NAME(sum_panel)(weights + h, rows, pairs, here, stride, begin + h, from_stride, out + h, width, 1, 8);
        for (int g = 0; g < (many ? TILE : 1); g++)
            for (int rest = h; rest < width; rest += 2 * LANES)
                NAME(sum_panel)(weights + rest, rows, pairs, here + (size_t)g * stride, stride,
                                begin + (size_t)g * from_stride + rest, from_stride, out + (size_t)g * width + rest,
                                width, 1, 2);
        f += many ? TILE : 1;
    }
}

/* Units of the deep layer, in the model's order, from their sums; what does not fit 16 bits becomes 32767. */
TARGET static void NAME(make_units)(const int32_t *sums, int width, int32_t *units)
{
    for (int h = 0; h < width; h += 2 * LANES) {
        Vec low = RELU(V(srai_epi32)(LOAD(sums + h), DEEP_SHIFT));
        Vec high = RELU(V(srai_epi32)(LOAD(sums + h + LANES), DEEP_SHIFT));
        STORE(units + h / 2, V(packs_epi32)(low, high));
    }
}

/* Adds to frames' hidden sums what an index of each says, and reads a symbol's two outputs from them. A sum that is not
negative is taken as two digits of 15 bits, so that it can be multiplied in 16. */
TARGET static void NAME(advance)(int32_t *sums, int width, const int16_t *by_value, const int16_t *by_spread,
                                 const int32_t *features, int stride, int frames, const int16_t *first,
                                 const int16_t *second, int64_t *outputs)
{
    Vec mask = V(set1_epi32)(0x7fff), zero = V(set1_epi32)(0);
    for (int f = 0; f < frames; f++, sums += width, features += stride, outputs += 2) {
        Vec factor = V(set1_epi32)(*features);
        Vec low_first = zero, low_second = zero, high_first = zero, high_second = zero;
        int32_t totals[4];
        for (int h = 0; h < width; h += 2 * LANES) {
            Vec one = LOAD(by_value + h), other = LOAD(by_spread + h);
            Vec a = DOT(LOAD(sums + h), V(unpacklo_epi16)(one, other), factor);
            Vec b = DOT(LOAD(sums + h + LANES), V(unpackhi_epi16)(one, other), factor);
            STORE(sums + h, a);
            STORE(sums + h + LANES, b);
            a = RELU(a);
            b = RELU(b);
            Vec low = V(packs_epi32)(a & mask, b & mask);
            Vec high = V(packs_epi32)(V(srai_epi32)(a, 15), V(srai_epi32)(b, 15));
            one = LOAD(first + h);
            other = LOAD(second + h);
            low_first = DOT(low_first, low, one);
            low_second = DOT(low_second, low, other);
            high_first = DOT(high_first, high, one);
            high_second = DOT(high_second, high, other);
        }
        /* Halves of halves: each lane of 128 bits then has a part of every total. */
        Vec lows = V(add_epi32)(V(unpacklo_epi32)(low_first, low_second), V(unpackhi_epi32)(low_first, low_second));
        Vec highs =
            V(add_epi32)(V(unpacklo_epi32)(high_first, high_second), V(unpackhi_epi32)(high_first, high_second));
        FOLD(V(add_epi32)(V(unpacklo_epi64)(lows, highs), V(unpackhi_epi64)(lows, highs)), totals);
        outputs[0] = totals[0] + totals[2] * (int64_t)32768; /* a shift of what is negative is undefined */
        outputs[1] = totals[1] + totals[3] * (int64_t)32768;
    }
}

static const Kernel NAME(kernel) = {LANES, NAME(sum_products), NAME(make_units), NAME(advance)};

#undef NAME
#undef TARGET
#undef LANES
#undef TILE
#undef WIDE
#undef Vec
#undef V
#undef LOAD
#undef STORE
#undef DOT
#undef RELU
#undef FOLD
