#include "kernels.h"

#include <string.h>

/* -DMCU_PLAIN: C alone, whatever the processor has. Helium's rows take as many registers as only optimisers leave. */
#if defined(MCU_PLAIN)
#elif defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#ifdef __OPTIMIZE__
#define MCU_MVE 1
#endif
#elif defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && __ARM_ARCH_PROFILE == 'M'
#define MCU_DSP 1
#elif defined(__SSE2__)
#define MCU_SSE2 1
#endif

/* ---- arithmetic ---- */

/* value * multiplier / 2^31 * 2^shift, rounded to nearest twice as LiteRT does: halves up, then away from 0. */
static inline int32_t rescale(int32_t value, int32_t multiplier, int shift)
{
    const int left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    const int64_t product = (int64_t)value * ((int64_t)1 << left) * multiplier;
    const int32_t high = (int32_t)((product + ((int64_t)1 << 30)) >> 31);
    const int32_t mask = (int32_t)(((int64_t)1 << right) - 1);
    const int32_t threshold = (mask >> 1) + (high < 0 ? 1 : 0);
    return (high >> right) + ((high & mask) > threshold ? 1 : 0);
}

static inline int8_t clamped(int32_t value, const mcu_layer *l)
{
    value += l->out_zero;
    value = value < l->low ? l->low : value;
    value = value > l->high ? l->high : value;
    return (int8_t)value;
}

static inline int8_t finished(int32_t sum, const mcu_layer *l, int channel)
{
    return clamped(rescale(sum, l->multiplier[channel], l->shift[channel]), l);
}

/* The columns of a kernel that lie inside the image, for output column x. */
static inline void inside(const mcu_layer *l, int x, int *first, int *last, int *column)
{
    const int left = x * l->stride_w - l->pad_left;
    *first = left < 0 ? -left : 0;
    *last = left + l->kernel_w > l->in_w ? l->in_w - left : l->kernel_w;
    *column = left + *first;
}

/* ---- what a processor may have its own way for; the rows that are left over are made below ---- */

#if defined(MCU_MVE)
#include "rows_mve.h"
#elif defined(MCU_DSP)
#include "rows_dsp.h"
#elif defined(MCU_SSE2)
#include "rows_sse2.h"
#else
#include "rows_plain.h"
#endif

/* ---- kernels: one row, columns x0 .. x1 ---- */

/* A first layer's rows of a kernel are a few bytes, for which a call takes longer than the copy. */
static inline void copy(int8_t *to, const int8_t *from, size_t size)
{
    if (size > 32) {
        memcpy(to, from, size);
        return;
    }
    for (; size >= 4; size -= 4, to += 4, from += 4)
        memcpy(to, from, 4);
    if (size >= 2)
        memcpy(to, from, 2);
    if (size % 2 != 0)
        to[size - 1] = from[size - 1];
}

/* Two places at a time, gathered side by side; what lies outside of the image is the zero point. */
static void conv_row(const mcu_layer *l, const int8_t *const *rows, int in_x0, int8_t *out, int x0, int x1,
                     int8_t *scratch)
{
    const size_t channels = l->in_c, wide = (size_t)l->kernel_w * channels;
    const int taps = (int)(l->kernel_h * wide);
    for (int x = x0; x < x1;) {
        const int count = x + 2 <= x1 ? 2 : 1;
        int8_t *to = scratch;
        for (int p = 0; p < count; p++, x++) {
            int first, last, column;
            inside(l, x, &first, &last, &column);
            for (int ky = 0; ky < l->kernel_h; ky++, to += wide) {
                if (rows[ky] == NULL || last <= first) {
                    memset(to, l->in_zero, wide);
                    continue;
                }
                const size_t before = (size_t)first * channels, size = (size_t)(last - first) * channels;
                if (size < wide)
                    memset(to, l->in_zero, wide);
                copy(to + before, rows[ky] + (size_t)(column - in_x0) * channels, size);
            }
        }
        product(l, scratch, count, taps, out);
        out += count * l->out_c;
    }
}

static void depthwise_row(const mcu_layer *l, const int8_t *const *rows, int in_x0, int8_t *out, int x0, int x1)
{
    const int channels = l->in_c, made = depthwise_channels(l, rows, in_x0, out, x0, x1);
    for (int x = x0; x < x1 && made < channels; x++, out += channels) {
        int first, last, column;
        inside(l, x, &first, &last, &column);
        const ptrdiff_t start = (ptrdiff_t)(column - in_x0) * channels;
        for (int c = made; c < channels; c++) {
            int32_t sum = l->bias[c];
            for (int ky = 0; ky < l->kernel_h; ky++) {
                if (rows[ky] == NULL)
                    continue;
                const int8_t *a = rows[ky] + start + c;
                const int8_t *w = l->weight + (ptrdiff_t)(ky * l->kernel_w + first) * channels + c;
                for (int kx = first; kx < last; kx++, a += channels, w += channels)
                    sum += (*a - l->in_zero) * *w;
            }
            out[c] = finished(sum, l, c);
        }
    }
}

/* Both sides at 2^20 of a common scale, as LiteRT adds. `out` may be either side. */
static void add_row(const mcu_layer *l, const int8_t *a, const int8_t *b, int8_t *out, int count)
{
    for (int i = added(l, a, b, out, count); i < count; i++) {
        const int32_t left = rescale((a[i] - l->in_zero) * (1 << 20), l->multiplier[0], l->shift[0]);
        const int32_t right = rescale((b[i] - l->other_zero) * (1 << 20), l->multiplier[1], l->shift[1]);
        out[i] = clamped(rescale(left + right, l->multiplier[2], l->shift[2]), l);
    }
}

/* `step` is 0 where `b` holds one value a channel. */
static void multiply_row(const mcu_layer *l, const int8_t *a, const int8_t *b, int step, int8_t *out, int places)
{
    for (int p = 0; p < places; p++, b += step)
        for (int c = 0; c < l->out_c; c++, a++, out++)
            *out = finished((*a - l->in_zero) * (b[c] - l->other_zero), l, 0);
}

static void pool_row(const mcu_layer *l, const int8_t *const *rows, int in_x0, int8_t *out, int x0, int x1)
{
    const int channels = l->in_c;
    for (int x = x0; x < x1; x++, out += channels) {
        int first, last, column;
        inside(l, x, &first, &last, &column);
        for (int c = 0; c < channels; c++) {
            int32_t sum = 0, most = -128;
            for (int ky = 0; ky < l->kernel_h; ky++) {
                if (rows[ky] == NULL)
                    continue;
                const int8_t *a = rows[ky] + (ptrdiff_t)(column - in_x0) * channels + c;
                for (int kx = first; kx < last; kx++, a += channels) {
                    most = *a > most ? *a : most;
                    sum += *a - l->in_zero;
                }
            }
            out[c] = l->kind == MCU_MAXIMUM ? (int8_t)most : finished(sum, l, 0);
        }
    }
}

/* Adds a row to the sums; after the last one `out` is the mean, rounded as LiteRT does. */
static void mean_row(const mcu_layer *l, int y, const int8_t *in, int8_t *scratch, int8_t *out)
{
    int32_t *sums = (int32_t *)(void *)scratch; /* the generator aligns it */
    if (y == 0)
        memset(sums, 0, (size_t)l->in_c * sizeof(int32_t));
    for (int x = 0; x < l->in_w; x++)
        for (int c = 0; c < l->in_c; c++)
            sums[c] += *in++;
    if (y + 1 < l->in_h)
        return;
    const int32_t places = l->in_h * l->in_w;
    for (int c = 0; c < l->in_c; c++)
        out[c] = finished(sums[c] - l->in_zero * places, l, 0);
}

static void table_row(const mcu_layer *l, const int8_t *in, int8_t *out, int count)
{
    for (int i = 0; i < count; i++)
        out[i] = l->weight[in[i] + 128];
}

/* ---- stages ---- */

typedef struct {
    const mcu_layer *layers;
    const mcu_step *steps;
    const mcu_span *spans;
    int8_t *arena;
    int8_t *output;
    mcu_read_fn read;
    void *ctx;
    uint16_t next[MCU_MAX_STEPS]; /* the row that each step makes next; of MCU_MEAN the row that it takes next */
} run;

static inline int8_t *row_of(const run *r, int step, int y, int x)
{
    const mcu_step *s = &r->steps[step];
    int8_t *base = s->offset == MCU_OUTPUT ? r->output : r->arena + s->offset;
    const int channels = r->layers[s->layer].out_c, from = s->whole ? 0 : r->spans[step].x0;
    return base + (size_t)(y % s->rows) * s->row_bytes + (ptrdiff_t)(x - from) * channels;
}

/* How many rows of its inputs must be there before a step's next one can be made. */
static inline int needed(const mcu_layer *l, int y)
{
    const int rows = l->kind == MCU_CONV || l->kind == MCU_DEPTHWISE || l->kind == MCU_MAXIMUM || l->kind == MCU_AVERAGE
                         ? y * l->stride_h - l->pad_top + l->kernel_h
                         : y + 1;
    return rows < l->in_h ? rows : l->in_h;
}

static int ready(const run *r, int step)
{
    const mcu_step *s = &r->steps[step];
    if (s->kind == MCU_KEPT || r->next[step] >= r->spans[step].y1)
        return 0;
    for (int i = 0; i < 2; i++) {
        const int source = s->input[i];
        if (source < 0)
            continue;
        const mcu_layer *given = &r->layers[r->steps[source].layer];
        int there = r->next[source], wanted = needed(&r->layers[s->layer], r->next[step]);
        if (r->steps[source].kind == MCU_MEAN)
            there = there >= given->in_h;
        if (wanted > given->out_h) /* one value a channel, for all rows */
            wanted = given->out_h;
        if (there < wanted)
            return 0;
    }
    return 1;
}

static void make_row(run *r, int step)
{
    const mcu_step *s = &r->steps[step];
    const mcu_layer *l = &r->layers[s->layer];
    const int y = r->next[step]++, x0 = r->spans[step].x0, x1 = r->spans[step].x1, count = x1 - x0;
    int8_t *out = row_of(r, step, s->kind == MCU_MEAN ? 0 : y, x0), *scratch = r->arena + s->scratch;
    if (s->kind == MCU_READ) {
        r->read(r->ctx, y, x0, 1, count, out);
        return;
    }
    const int source = s->input[0], in_x0 = r->steps[source].whole ? 0 : r->spans[source].x0;
    if (s->kind == MCU_CONV || s->kind == MCU_DEPTHWISE || s->kind == MCU_MAXIMUM || s->kind == MCU_AVERAGE) {
        const int8_t *rows[MCU_MAX_KERNEL];
        const int top = y * l->stride_h - l->pad_top;
        for (int ky = 0; ky < l->kernel_h; ky++)
            rows[ky] = top + ky < 0 || top + ky >= l->in_h ? NULL : row_of(r, source, top + ky, in_x0);
        if (s->kind == MCU_CONV)
            conv_row(l, rows, in_x0, out, x0, x1, scratch);
        else if (s->kind == MCU_DEPTHWISE)
            depthwise_row(l, rows, in_x0, out, x0, x1);
        else
            pool_row(l, rows, in_x0, out, x0, x1);
        return;
    }
    const int8_t *in = row_of(r, source, y, s->kind == MCU_MEAN ? 0 : x0);
    if (s->kind == MCU_POINTWISE)
        product(l, in, count, l->in_c, out);
    else if (s->kind == MCU_TABLE)
        table_row(l, in, out, count * l->out_c);
    else if (s->kind == MCU_MEAN)
        mean_row(l, y, in, scratch, out);
    else {
        const int other = s->input[1];
        const mcu_layer *given = &r->layers[r->steps[other].layer];
        const int one = given->out_h == 1 && given->out_w == 1;
        const int8_t *b = one ? row_of(r, other, 0, 0) : row_of(r, other, y, x0);
        if (s->kind == MCU_ADD)
            add_row(l, in, b, out, count * l->out_c);
        else
            multiply_row(l, in, b, one ? 0 : l->out_c, out, count);
    }
}

void mcu_run(const mcu_layer *layers, const mcu_stage *stages, int stage_count, int8_t *arena, mcu_read_fn read,
             void *ctx, int8_t *output)
{
    run r = {layers, NULL, NULL, arena, output, read, ctx, {0}};
#ifdef MCU_CLOCK
    uint64_t since = MCU_CLOCK();
#endif
    for (const mcu_stage *stage = stages; stage < stages + stage_count; stage++) {
        const int last = stage->step_count - 1;
        for (int m = 0; m < stage->move_count; m++)
            memmove(arena + stage->moves[m].to, arena + stage->moves[m].from, stage->moves[m].bytes);
        r.steps = stage->steps;
        r.spans = stage->spans;
        for (int tile = 0; tile < stage->tile_count; tile++, r.spans += stage->step_count) {
            for (int s = 0; s <= last; s++)
                r.next[s] = r.steps[s].kind == MCU_KEPT ? r.spans[s].y1 : r.spans[s].y0;
            while (r.next[last] < r.spans[last].y1) {
                int s = last;
                while (!ready(&r, s))
                    s--;
                make_row(&r, s);
#ifdef MCU_CLOCK
                const uint64_t now = MCU_CLOCK();
                mcu_ticks[r.steps[s].layer] += now - since;
                since = now;
#endif
            }
        }
    }
}
