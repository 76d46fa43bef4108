/* Rows by SSE2, which every x86-64 has: eight products of 16 bits with one instruction. */
#ifndef MCU_ROWS_SSE2_H
#define MCU_ROWS_SSE2_H

#include <emmintrin.h>

/* Eight bytes as 16 bits each. */
static inline __m128i eight_at(const int8_t *from)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)from);
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}

static inline __m128i plus_products(__m128i sums, __m128i a, __m128i b)
{
    return _mm_add_epi32(sums, _mm_madd_epi16(a, b));
}

static inline int32_t total(__m128i v)
{
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
    return _mm_cvtsi128_si32(v);
}

/* The sum of `taps` products of one place's bytes with one channel's weights. */
static int32_t dot(const int8_t *a, const int8_t *w, int taps)
{
    __m128i sums = _mm_setzero_si128();
    int k = 0;
    for (; k + 8 <= taps; k += 8)
        sums = plus_products(sums, eight_at(a + k), eight_at(w + k));
    int32_t sum = total(sums);
    for (; k < taps; k++)
        sum += a[k] * w[k];
    return sum;
}

/* The same of two places, a and b, with two channels, v and w: av, aw, bv and bw. */
static void dot_2x2(const int8_t *a, const int8_t *b, const int8_t *v, const int8_t *w, int taps, int32_t sums[4])
{
    int k = 0;
    sums[0] = sums[1] = sums[2] = sums[3] = 0;
    __m128i av = _mm_setzero_si128(), aw = av, bv = av, bw = av;
    for (; k + 8 <= taps; k += 8) {
        const __m128i x = eight_at(a + k), y = eight_at(b + k), s = eight_at(v + k), t = eight_at(w + k);
        av = plus_products(av, x, s);
        aw = plus_products(aw, x, t);
        bv = plus_products(bv, y, s);
        bw = plus_products(bw, y, t);
    }
    sums[0] = total(av);
    sums[1] = total(aw);
    sums[2] = total(bv);
    sums[3] = total(bw);
    for (; k < taps; k++) {
        sums[0] += a[k] * v[k];
        sums[1] += a[k] * w[k];
        sums[2] += b[k] * v[k];
        sums[3] += b[k] * w[k];
    }
}

/* `count` places of `taps` bytes each, one after the other, times all channels' weights. */
static void product(const mcu_layer *l, const int8_t *in, int count, int taps, int8_t *out)
{
    const int channels = l->out_c;
    int p = 0;
    for (; p + 2 <= count; p += 2) {
        const int8_t *a = in + p * taps, *b = a + taps;
        int8_t *o = out + p * channels;
        int c = 0;
        for (; c + 2 <= channels; c += 2) {
            const int8_t *v = l->weight + (ptrdiff_t)c * taps;
            int32_t sums[4];
            dot_2x2(a, b, v, v + taps, taps, sums);
            o[c] = finished(sums[0] + l->bias[c], l, c);
            o[c + 1] = finished(sums[1] + l->bias[c + 1], l, c + 1);
            o[channels + c] = finished(sums[2] + l->bias[c], l, c);
            o[channels + c + 1] = finished(sums[3] + l->bias[c + 1], l, c + 1);
        }
        for (; c < channels; c++) {
            const int8_t *v = l->weight + (ptrdiff_t)c * taps;
            o[c] = finished(dot(a, v, taps) + l->bias[c], l, c);
            o[channels + c] = finished(dot(b, v, taps) + l->bias[c], l, c);
        }
    }
    for (; p < count; p++)
        for (int c = 0; c < channels; c++)
            out[p * channels + c] =
                finished(dot(in + p * taps, l->weight + (ptrdiff_t)c * taps, taps) + l->bias[c], l, c);
}

static int depthwise_channels(const mcu_layer *l, const int8_t *const *rows, int in_x0, int8_t *out, int x0, int x1)
{
    const int channels = l->in_c;
    for (int x = x0; x < x1; x++, out += channels) {
        int first, last, column, c = 0;
        inside(l, x, &first, &last, &column);
        const ptrdiff_t start = (ptrdiff_t)(column - in_x0) * channels;
        const __m128i zero = _mm_set1_epi16(l->in_zero), none = _mm_setzero_si128();
        for (; c + 8 <= channels; c += 8) {
            __m128i low = _mm_loadu_si128((const __m128i *)(const void *)(l->bias + c));
            __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(l->bias + c + 4));
            for (int ky = 0; ky < l->kernel_h; ky++) {
                if (rows[ky] == NULL)
                    continue;
                const int8_t *a = rows[ky] + start + c;
                const int8_t *w = l->weight + (ptrdiff_t)(ky * l->kernel_w + first) * channels + c;
                for (int kx = first; kx < last; kx += 2, a += 2 * channels, w += 2 * channels) {
                    const int two = kx + 1 < last;
                    const __m128i y_0 = _mm_sub_epi16(eight_at(a), zero), w_0 = eight_at(w);
                    const __m128i y_1 = two ? _mm_sub_epi16(eight_at(a + channels), zero) : none;
                    const __m128i w_1 = two ? eight_at(w + channels) : none;
                    low = plus_products(low, _mm_unpacklo_epi16(y_0, y_1), _mm_unpacklo_epi16(w_0, w_1));
                    high = plus_products(high, _mm_unpackhi_epi16(y_0, y_1), _mm_unpackhi_epi16(w_0, w_1));
                }
            }
            int32_t sums[8];
            _mm_storeu_si128((__m128i *)(void *)sums, low);
            _mm_storeu_si128((__m128i *)(void *)(sums + 4), high);
            for (int i = 0; i < 8; i++)
                out[c + i] = finished(sums[i], l, c + i);
        }
    }
    return channels - channels % 8;
}

static int added(const mcu_layer *l, const int8_t *a, const int8_t *b, int8_t *out, int count)
{
    (void)l, (void)a, (void)b, (void)out, (void)count;
    return 0;
}
#endif
