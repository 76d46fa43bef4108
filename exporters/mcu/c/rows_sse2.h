/* Rows by SSE2, which every x86-64 has: eight products of 16 bits with one instruction. */
#ifndef MCU_ROWS_SSE2_H
#define MCU_ROWS_SSE2_H

#include <emmintrin.h>

/* Sums of `taps` products of one or two places' bytes with one or two channels' weights. */

static inline __m128i low_half(__m128i bytes)
{
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}

static inline __m128i high_half(__m128i bytes)
{
    return _mm_srai_epi16(_mm_unpackhi_epi8(bytes, bytes), 8);
}

static inline int32_t total(__m128i v)
{
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
    return _mm_cvtsi128_si32(v);
}

static int32_t dot(const int8_t *a, const int8_t *w, int taps)
{
    int32_t sum = 0;
    int k = 0;
    __m128i sums = _mm_setzero_si128();
    for (; k + 16 <= taps; k += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(a + k));
        const __m128i y = _mm_loadu_si128((const __m128i *)(const void *)(w + k));
        sums = _mm_add_epi32(sums, _mm_madd_epi16(low_half(x), low_half(y)));
        sums = _mm_add_epi32(sums, _mm_madd_epi16(high_half(x), high_half(y)));
    }
    if (k + 8 <= taps) {
        const __m128i x = _mm_loadl_epi64((const __m128i *)(const void *)(a + k));
        const __m128i y = _mm_loadl_epi64((const __m128i *)(const void *)(w + k));
        sums = _mm_add_epi32(sums, _mm_madd_epi16(low_half(x), low_half(y)));
        k += 8;
    }
    sum = total(sums);
    for (; k < taps; k++)
        sum += a[k] * w[k];
    return sum;
}

static void dot_2x2(const int8_t *a, const int8_t *b, const int8_t *v, const int8_t *w, int taps, int32_t sums[4])
{
    int k = 0;
    sums[0] = sums[1] = sums[2] = sums[3] = 0;
    __m128i av = _mm_setzero_si128(), aw = av, bv = av, bw = av;
    for (; k + 8 <= taps; k += 8) {
        const __m128i x = low_half(_mm_loadl_epi64((const __m128i *)(const void *)(a + k)));
        const __m128i y = low_half(_mm_loadl_epi64((const __m128i *)(const void *)(b + k)));
        const __m128i s = low_half(_mm_loadl_epi64((const __m128i *)(const void *)(v + k)));
        const __m128i t = low_half(_mm_loadl_epi64((const __m128i *)(const void *)(w + k)));
        av = _mm_add_epi32(av, _mm_madd_epi16(x, s));
        aw = _mm_add_epi32(aw, _mm_madd_epi16(x, t));
        bv = _mm_add_epi32(bv, _mm_madd_epi16(y, s));
        bw = _mm_add_epi32(bw, _mm_madd_epi16(y, t));
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
        const __m128i zero = _mm_set1_epi16(l->in_zero);
        for (; c + 8 <= channels; c += 8) {
            __m128i low = _mm_loadu_si128((const __m128i *)(const void *)(l->bias + c));
            __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(l->bias + c + 4));
            for (int ky = 0; ky < l->kernel_h; ky++) {
                if (rows[ky] == NULL)
                    continue;
                const int8_t *a = rows[ky] + start + c;
                const int8_t *w = l->weight + (ptrdiff_t)(ky * l->kernel_w + first) * channels + c;
                int kx = first;
                for (; kx + 2 <= last; kx += 2, a += 2 * channels, w += 2 * channels) {
                    const __m128i x_0 = low_half(_mm_loadl_epi64((const __m128i *)(const void *)a));
                    const __m128i x_1 = low_half(_mm_loadl_epi64((const __m128i *)(const void *)(a + channels)));
                    const __m128i w_0 = low_half(_mm_loadl_epi64((const __m128i *)(const void *)w));
                    const __m128i w_1 = low_half(_mm_loadl_epi64((const __m128i *)(const void *)(w + channels)));
                    const __m128i y_0 = _mm_sub_epi16(x_0, zero), y_1 = _mm_sub_epi16(x_1, zero);
                    low = _mm_add_epi32(low, _mm_madd_epi16(_mm_unpacklo_epi16(y_0, y_1), _mm_unpacklo_epi16(w_0, w_1)));
                    high =
                        _mm_add_epi32(high, _mm_madd_epi16(_mm_unpackhi_epi16(y_0, y_1), _mm_unpackhi_epi16(w_0, w_1)));
                }
                if (kx < last) {
                    const __m128i none = _mm_setzero_si128();
                    const __m128i y_0 = _mm_sub_epi16(low_half(_mm_loadl_epi64((const __m128i *)(const void *)a)), zero);
                    const __m128i w_0 = low_half(_mm_loadl_epi64((const __m128i *)(const void *)w));
                    low = _mm_add_epi32(low, _mm_madd_epi16(_mm_unpacklo_epi16(y_0, none), _mm_unpacklo_epi16(w_0, none)));
                    high =
                        _mm_add_epi32(high, _mm_madd_epi16(_mm_unpackhi_epi16(y_0, none), _mm_unpackhi_epi16(w_0, none)));
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
