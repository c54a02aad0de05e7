/* The network: from the past of frames, and the symbols of theirs that are known, to the outputs for the next one. */

#pragma once

#include "_coder.h"

/* The innermost loops are functions of their own: in a loop around them gcc merges rounds of the outer loop first, and
then finds no vectors. Factors of 16 bits let it multiply in 16 bits, twice as many at once. */

VECTORISED static void add_rows(int32_t *RESTRICT sums, int width, const int16_t *RESTRICT a, int16_t times_a,
                                const int16_t *RESTRICT b, int16_t times_b, const int16_t *RESTRICT c, int16_t times_c,
                                const int16_t *RESTRICT d, int16_t times_d)
{
    for (int h = 0; h < width; h++)
        sums[h] += a[h] * times_a + b[h] * times_b + c[h] * times_c + d[h] * times_d;
}

VECTORISED static void add_unit(double *RESTRICT sums, int width, const int16_t *RESTRICT weights, double unit)
{
    for (int h = 0; h < width; h++)
        sums[h] += unit * weights[h];
}

/* totals += the sum of rows of weights by factors, which are 256 at most in magnitude, since features are: 128 products
fit 32 bits. `count` is a multiple of 4. */
static void add_terms(const int16_t *weights, int width, const Term *terms, int count, int64_t *totals)
{
    int32_t sums[MOST_HIDDEN];
    for (int first = 0; first < count; first += 128) {
        int end = count - first < 128 ? count : first + 128;
        memset(sums, 0, (size_t)width * sizeof *sums);
        for (const Term *t = terms + first; t < terms + end; t += 4)
            add_rows(sums, width, weights + (size_t)t[0].row * width, t[0].factor, weights + (size_t)t[1].row * width,
                     t[1].factor, weights + (size_t)t[2].row * width, t[2].factor, weights + (size_t)t[3].row * width,
                     t[3].factor);
        for (int h = 0; h < width; h++)
            totals[h] += sums[h];
    }
}

/* The two numbers of a pair. */
INLINE int16_t low_of(int32_t pair)
{
    return (int16_t)(uint16_t)((uint32_t)pair & 0xffff);
}

INLINE int16_t high_of(int32_t pair)
{
    return (int16_t)(uint16_t)((uint32_t)pair >> 16);
}

INLINE int32_t pair_of(int32_t low, int32_t high)
{
    return (int32_t)(((uint32_t)low & 0xffff) | (uint32_t)high << 16);
}

/* The hidden sums that a frame begins with, from its past, whatever their size. */
static void begin_wide(const Coder *coder, const int32_t *factors, int first, double *sums)
{
    Term terms[MOST_KINDS * MOST_GROUPS + 3];
    int64_t totals[MOST_HIDDEN];
    int count = 0;
    for (int p = 0; p < 2 * coder->pairs; p++) {
        int16_t factor = p % 2 == 0 ? low_of(factors[p / 2]) : high_of(factors[p / 2]);
        if (factor != 0) {
            terms[count].row = coder->rows[p];
            terms[count++].factor = factor;
        }
    }
    for (; count % 4 != 0; count++)
        terms[count].row = terms[count].factor = 0;
    for (int h = 0; h < coder->hidden; h++)
        totals[h] = coder->hidden_bias[h] + (first ? (int64_t)coder->start_bias[h] : 0);
    add_terms(coder->history, coder->hidden, terms, count, totals);
    for (int h = 0; h < coder->hidden; h++)
        sums[h] = (double)totals[h];
    if (coder->deep > 0) {
        for (int a = 0; a < coder->deep; a++)
            totals[a] = coder->deep_bias[a];
        add_terms(coder->deep_inputs, coder->deep, terms, count, totals);
        for (int a = 0; a < coder->deep; a++)
            if (totals[a] >> DEEP_SHIFT > 0) /* about half of them */
                add_unit(sums, coder->hidden, coder->deep_outputs + (size_t)a * coder->hidden,
                         (double)(totals[a] >> DEEP_SHIFT));
    }
}

VECTORISED static int largest(const int32_t *units, int pairs)
{
    int most = 0;
    for (int p = 0; p < pairs; p++) {
        int low = low_of(units[p]), high = high_of(units[p]);
        most = low > most ? low : most;
        most = high > most ? high : most;
    }
    return most;
}

/* What several frames begin with: to work->sums where that fits 32 bits, and then returns 1, or to work->wide. */
static int begin(const Coder *coder, Work *work, int frames, int first)
{
    const Kernel *kernel = coder->kernel;
    int width = coder->hidden, deep = coder->deep, pairs = coder->pairs;
    if (kernel != NULL && deep > 0) {
        kernel->sum_products(coder->deep_inputs, deep, coder->rows, pairs, work->factors, pairs, frames,
                             coder->placed_deep, 0, work->deep_sums);
        kernel->make_units(work->deep_sums, deep * frames, work->units);
    }
    if (kernel == NULL || largest(work->units, deep * frames / 2) > coder->most_unit) {
        for (int f = 0; f < frames; f++)
            begin_wide(coder, work->factors + f * pairs, first && f == 0, work->wide + f * width);
        return 0;
    }
    kernel->sum_products(coder->history, width, coder->rows, pairs, work->factors, pairs, frames,
                         coder->placed_hidden, 0, work->sums);
    for (int h = 0; h < width && first; h++)
        work->sums[h] += coder->placed_start[h];
    if (deep > 0)
        kernel->sum_products(coder->deep_outputs, width, coder->unit_rows, deep / 2, work->units, deep / 2,
                             frames, work->sums, width, work->sums);
    return 1;
}

/* Adds to the hidden sums what an index says, and reads a symbol's two outputs from them. */
VECTORISED static void advance_wide(double *RESTRICT sums, int width, const int16_t *RESTRICT by_value, int16_t value,
                                    const int16_t *RESTRICT by_spread, int16_t spread, const int16_t *RESTRICT first,
                                    const int16_t *RESTRICT second, int64_t *RESTRICT outputs)
{
    double a = 0, b = 0;
    for (int h = 0; h < width; h++) {
        double sum = sums[h] + (by_value[h] * value + by_spread[h] * spread);
        double active = sum > 0 ? sum : 0;
        sums[h] = sum;
        a += active * first[h];
        b += active * second[h];
    }
    outputs[0] = (int64_t)a;
    outputs[1] = (int64_t)b;
}

/* One axis of a cell: an output without its fraction bits, within the table. */
static int cell_of(int64_t output, int cells)
{
    int64_t cell = output >> OUTPUT_SHIFT;
    return cell > 0 ? cell < cells - 1 ? (int)cell : cells - 1 : 0;
}

/* number / count by a multiplication, of numbers below 2**30 and below 2**16 * count. `inverse` is 2**44 / count
rounded up, by less than 1: that adds less than 2**30 / 2**44 to the quotient, and a fraction is at least 1 / count, which is
2**-14 or more, below the next integer. The product is below 2**61. */
INLINE int32_t quotient(int32_t number, uint64_t inverse)
{
    return (int32_t)((uint64_t)number * inverse >> INVERSE_BITS);
}

/* Value and spread of an index. FEATURE_ONE is added before the division and off after: quotients are rounded down. */
INLINE int32_t features_of(int32_t index, uint64_t inverse)
{
    int32_t value = quotient((2 * index + 1) * FEATURE_ONE, inverse) - FEATURE_ONE;
    return pair_of(value, value * value / FEATURE_ONE - SPREAD_MEAN);
}

/* The features and symbols of a channel's frame that is known. Its buffer is read once, since others may write there. A
change is coded as one from half the levels, so that none lies in the middle of the table. */
VECTORISED static Status describe(const Coder *coder, const int64_t *indices, int32_t *RESTRICT before,
                                  int32_t *RESTRICT features, int32_t *RESTRICT symbols)
{
    int outside = 0;
    for (int i = 0; i < coder->present; i++) {
        int64_t index = indices[coder->group[i]];
        outside |= (uint64_t)index >= (uint64_t)coder->count[i];
        features[i] = (int32_t)index;
    }
    for (int i = 0; i < coder->present && !outside; i++) {
        int32_t index = features[i], count = coder->count[i];
        int32_t symbol = index - (coder->relative[i] ? before[i] - count / 2 : 0);
        symbols[i] = symbol + (symbol < 0 ? count : symbol >= count ? -count : 0);
        before[i] = index;
        features[i] = features_of(index, coder->inverse[i]);
    }
    return outside ? OUTSIDE : DONE;
}

/* Which kinds of history are multiplied together. */
static const uint8_t PAIRED[MOST_PAIRS][2] = {{0, 1}, {3, 4}, {5, 2}, {6, 7}};
static const uint8_t FEW_PAIRED[2][2] = {{0, 1}, {2, NO_KIND}};

VECTORISED static void recall(const Coder *coder, const Channel *channel, int32_t *RESTRICT factors)
{
    int pairs = coder->kinds == MOST_KINDS ? MOST_PAIRS : 2;
    for (int p = 0; p < pairs; p++) {
        const uint8_t *kinds = coder->kinds == MOST_KINDS ? PAIRED[p] : FEW_PAIRED[p];
        const int16_t *RESTRICT low = channel->past[kinds[0]], *RESTRICT high = channel->past[kinds[1]];
        for (int i = 0; i < coder->present; i++)
            factors[p * coder->present + i] = pair_of(low[i], high[i]);
    }
}

/* A frame joins a channel's past. Shifts of negative numbers round down with every compiler there is. */
VECTORISED static void remember(int present, Channel *RESTRICT channel, const int32_t *RESTRICT features)
{
    memcpy(channel->past[3], channel->past[0], sizeof channel->past[0] * 2);
    for (int i = 0; i < present; i++) {
        int32_t value = low_of(features[i]), spread = high_of(features[i]);
        channel->past[0][i] = (int16_t)value;
        channel->past[1][i] = (int16_t)spread;
        channel->slow[0][i] += value - (channel->slow[0][i] >> SLOW_SHIFT);
        channel->slow[1][i] += spread - (channel->slow[1][i] >> SLOW_SHIFT);
        channel->slower[0][i] += value - (channel->slower[0][i] >> SLOWER_SHIFT);
        channel->slower[1][i] += spread - (channel->slower[1][i] >> SLOWER_SHIFT);
        channel->past[2][i] = (int16_t)(channel->slow[1][i] >> SLOW_SHIFT);
        channel->past[5][i] = (int16_t)(channel->slow[0][i] >> SLOW_SHIFT);
        channel->past[6][i] = (int16_t)(channel->slower[0][i] >> SLOWER_SHIFT);
        channel->past[7][i] = (int16_t)(channel->slower[1][i] >> SLOWER_SHIFT);
    }
}
