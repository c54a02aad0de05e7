/* From the network's outputs to symbols: cells, densities, the range coder, and the loops over frames. */

#pragma once

#include "_network.h"

/* ---- Densities and the range coder ---- */

static int most_kept(const Coder *coder)
{
    int cells = coder->cells * coder->cells, most = MOST_KEPT / (coder->bins + 2);
    return cells < most ? cells : most;
}

static Work *new_work(const Coder *coder)
{
    size_t sums = (size_t)most_kept(coder) * (coder->bins + 2), cells = (size_t)coder->cells * coder->cells;
    Work *work = PyMem_RawMalloc(sizeof *work + sums * sizeof *work->density + cells * sizeof *work->place);
    if (work == NULL)
        return NULL;
    work->kept = 0;
    work->place = (uint16_t *)(work->density + sums);
    memset(work->place, 0, cells * sizeof *work->place);
    return work;
}

/* A density's sums up to each of its points, of which a frequency table is cut. */
static const uint32_t *sums_of(const Coder *coder, Work *work, int cell)
{
    int bins = coder->bins;
    if (work->place[cell] != 0)
        return work->density + (size_t)(work->place[cell] - 1) * (bins + 2);
    if (work->kept == most_kept(coder)) { /* begin anew */
        memset(work->place, 0, (size_t)coder->cells * coder->cells * sizeof *work->place);
        work->kept = 0;
    }
    uint32_t *sums = work->density + (size_t)work->kept * (bins + 2), sum = 0;
    const uint16_t *density = coder->density + (size_t)cell * bins;
    work->place[cell] = (uint16_t)++work->kept;
    for (int bin = 0; bin < bins; bin++) {
        sums[bin] = sum;
        sum += density[bin];
    }
    sums[bins] = sums[bins + 1] = sum; /* the last level has no point above it */
    return sums;
}

/* Where a level lies among the bins: in the high half how many are below, in the low one what then remains, which is to
be divided by the level count. */
INLINE uint32_t point_of(int32_t level, int32_t bins, int32_t count, uint64_t inverse)
{
    uint32_t below = (uint32_t)quotient(level * bins, inverse);
    return below << 16 | (uint32_t)(level * bins - (int32_t)below * count);
}

/* The frequency table at one level. */
INLINE uint32_t cut(const uint32_t *sums, uint32_t point, uint32_t level, uint32_t count, uint64_t inverse)
{
    const uint32_t *at = sums + (point >> 16);
    uint32_t value = at[0] + (uint32_t)quotient((int32_t)((at[1] - at[0]) * (point & 0xffff)), inverse);
    return (value * (TOTAL - count) >> PRECISION) + level;
}

/* Where the tables of one level count begin. */
static size_t few_of(int32_t count)
{
    return (size_t)count * (count + 1) / 2;
}

INLINE uint32_t cut_at(const Coder *coder, const uint32_t *sums, int i, int32_t level)
{
    int32_t count = coder->count[i];
    uint32_t point = count <= FEW_LEVELS ? coder->few_points[few_of(count) + level]
                                         : point_of(level, coder->bins, count, coder->inverse[i]);
    return cut(sums, point, level, count, coder->inverse[i]);
}

static Status decode_symbol(const Coder *coder, Range *range, const uint32_t *sums, int i, uint32_t *symbol)
{
    uint32_t step = range->span >> PRECISION, target = range->code / step;
    uint32_t low = 0, high = coder->count[i], start = 0, end = TOTAL;
    /* Division leaves up to 65535 values of the state above the last interval: no encoder produces them. */
    if (target >= TOTAL)
        return NO_CODE;
    while (high - low > AT_ONCE) {
        uint32_t middle = (low + high) / 2, at = cut_at(coder, sums, i, middle);
        if (at <= target)
            low = middle, start = at;
        else
            high = middle, end = at;
    }
    /* Comparing a few is cheaper than guessing a branch wrong. */
    for (uint32_t level = low + 1, last = high; level < last; level++) {
        uint32_t at = cut_at(coder, sums, i, level), below = at <= target;
        low += below;
        start = below && at > start ? at : start;
        end = !below && at < end ? at : end;
    }
    if (end > TOTAL) /* a density that was changed since the model was checked; the span would overflow */
        return NO_CODE;
    range->code -= step * start;
    range->span = step * (end - start); /* not 0: start <= target < end */
    for (; range->span < 1u << 24; range->span <<= 8, range->next++)
        range->code = range->code << 8 | (range->next < range->size ? range->data[range->next] : 0);
    *symbol = low;
    return DONE;
}

/* Writes the code of intervals to `out`, which has room for 2 bytes each and 4 more; returns the number of bytes. */
static Py_ssize_t encode_pairs(const int64_t *pairs, Py_ssize_t count, uint8_t *out)
{
    uint64_t low = 0, span = UINT32_MAX, value = 0;
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i <= count; i++) {
        if (i < count) {
            uint64_t step = span >> PRECISION;
            low += step * (uint64_t)pairs[2 * i];
            span = step * (uint64_t)pairs[2 * i + 1];
        } else { /* zeros are read past the end: the number in the interval with most of them ends the code */
            for (int zeros = 32; zeros >= 0; zeros -= 8) {
                value = ((low + (((uint64_t)1 << zeros) - 1)) >> zeros) << zeros;
                if (value < low + span)
                    break;
            }
            low = value;
        }
        if (low > UINT32_MAX) { /* a carry; there is a byte that takes it, as the whole code is below 1 */
            Py_ssize_t at = size - 1;
            for (; at > 0 && out[at] == 255; at--)
                out[at] = 0;
            if (at >= 0)
                out[at]++;
            low &= UINT32_MAX;
        }
        for (; i < count && span < 1u << 24; span <<= 8, low = low << 8 & UINT32_MAX)
            out[size++] = (uint8_t)(low >> 24);
    }
    for (int shift = 24; shift >= 0; shift -= 8)
        out[size++] = (uint8_t)(low >> shift);
    while (size > 0 && out[size - 1] == 0)
        size--;
    return size;
}

/* ---- Frames ---- */

/* Advances frames to a symbol, of which `i` tells the group, and finds each one's cell. */
static void find_cells(const Coder *coder, Work *work, int narrow, int frames, int first, int i, int *cells)
{
    int width = coder->hidden, group = coder->group[i], stride = coder->present + 1;
    size_t plane = (size_t)coder->groups * width;
    const int16_t *by_value = coder->current + (i > 0 ? (size_t)coder->group[i - 1] * width : 0);
    const int16_t *readout = coder->readout + (size_t)group * width;
    const int32_t *features = work->features + i;
    int64_t outputs[BLOCK][2];
    if (narrow)
        coder->kernel->advance(work->sums, width, by_value, by_value + plane, features, stride, frames, readout,
                               readout + plane, outputs[0]);
    else
        for (int f = 0; f < frames; f++)
            advance_wide(work->wide + f * width, width, by_value, low_of(features[f * stride]), by_value + plane,
                         high_of(features[f * stride]), readout, readout + plane, outputs[f]);
    for (int f = 0; f < frames; f++) {
        cells[f] = 0;
        for (int o = 0; o < 2; o++) {
            int at = o * coder->groups + group;
            int64_t bias = coder->output_bias[at] + (first && f == 0 ? (int64_t)coder->start_output_bias[at] : 0);
            cells[f] = cells[f] * coder->cells + cell_of(outputs[f][o] + bias, coder->cells);
        }
    }
}

/* Writes where the symbols of a channel's frames lie in their frequency tables, as (cumulative frequency, frequency).
The frames depend on each other only by their indices, which an encoder knows. */
static void encode_block(const Coder *coder, Work *work, int frames, int first, Py_ssize_t row, int64_t *pairs)
{
    int narrow = begin(coder, work, frames, first), cells[BLOCK];
    for (int i = 0; i < coder->present; i++) {
        find_cells(coder, work, narrow, frames, first, i, cells);
        for (int f = 0; f < frames; f++) {
            const uint32_t *sums = sums_of(coder, work, cells[f]);
            int32_t symbol = work->symbols[f * coder->present + i];
            uint32_t start = cut_at(coder, sums, i, symbol);
            int64_t *pair = pairs + f * row + 2 * i;
            pair[0] = start;
            pair[1] = (int64_t)cut_at(coder, sums, i, symbol + 1) - start;
        }
    }
}

static Status encode_frames(const Coder *coder, Work *work, Channel *past, Py_ssize_t frames, Py_ssize_t channels,
                            const int64_t *indices, int64_t *pairs)
{
    Py_ssize_t row = 2 * channels * coder->present;
    for (Py_ssize_t frame = 0; frame < frames; frame += BLOCK)
        for (Py_ssize_t channel = 0; channel < channels; channel++) {
            int block = frames - frame < BLOCK ? (int)(frames - frame) : BLOCK;
            for (int f = 0; f < block; f++) {
                int32_t *features = work->features + f * (coder->present + 1) + 1;
                features[-1] = 0;
                recall(coder, &past[channel], work->factors + f * coder->pairs);
                if (describe(coder, indices + ((frame + f) * channels + channel) * coder->groups, past[channel].index,
                             features, work->symbols + f * coder->present) != DONE)
                    return OUTSIDE;
                remember(coder->present, &past[channel], features);
            }
            encode_block(coder, work, block, frame == 0, row, pairs + frame * row + 2 * channel * coder->present);
        }
    return DONE;
}

static Status decode_row(const Coder *coder, Work *work, int first, int32_t *before, Range *range, int64_t *indices)
{
    int narrow = begin(coder, work, 1, first), cell;
    for (int i = 0; i < coder->present; i++) {
        int32_t count = coder->count[i], index;
        uint32_t symbol;
        find_cells(coder, work, narrow, 1, first, i, &cell);
        Status status = decode_symbol(coder, range, sums_of(coder, work, cell), i, &symbol);
        if (status != DONE)
            return status;
        index = (int32_t)symbol + (coder->relative[i] ? before[i] - count / 2 : 0);
        index += index < 0 ? count : index >= count ? -count : 0;
        indices[coder->group[i]] = before[i] = index;
        work->features[i + 1] =
            count <= FEW_LEVELS ? coder->few_features[few_of(count) + index] : features_of(index, coder->inverse[i]);
    }
    return DONE;
}

static Status decode_frames(const Coder *coder, Work *work, Channel *past, Py_ssize_t frames, Py_ssize_t channels,
                            int64_t *indices, Range *range)
{
    work->features[0] = 0;
    for (Py_ssize_t frame = 0; frame < frames; frame++)
        for (Py_ssize_t channel = 0; channel < channels; channel++, indices += coder->groups) {
            recall(coder, &past[channel], work->factors);
            Status status = decode_row(coder, work, frame == 0, past[channel].index, range, indices);
            if (status != DONE)
                return status;
            remember(coder->present, &past[channel], work->features + 1);
        }
    return DONE;
}
