/* Rows by Helium (Cortex-M55, M85 ...): vectors of 16 bytes, and loads that leave out what lies behind the end. */
#ifndef MCU_ROWS_MVE_H
#define MCU_ROWS_MVE_H

#include <arm_mve.h>

/* Where a constant argument makes a function of its own; and where stack must not add up. */
#define INLINED static inline __attribute__((always_inline))
#define OWN_FRAME static __attribute__((noinline))

/* ---- rescaling ---- */

/* Whether all factors are less than 2, so that no value is shifted to the left. */
static int only_shrinks(const mcu_layer *l, int factors)
{
    int8_t most = -128;
    for (int c = 0; c < factors; c += 16) {
        const mve_pred16_t some = vctp8q((uint32_t)(factors - c));
        most = vmaxvq_p_s8(most, vld1q_z_s8(l->shift + c, some), some);
    }
    return most <= 0;
}

/* As `rescale`, where shifts are not above 0. VRSHL rounds halves up: of negative values that are shifted 1 is taken
 * away before, so that their halves go down. */
static inline int32x4_t shifted(int32x4_t high, int32x4_t shifts)
{
    return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(vandq_s32(high, shifts), 31)), shifts);
}

static inline int32x4_t rescaled(int32x4_t values, int32x4_t multipliers, int32x4_t shifts)
{
    return shifted(vqrdmulhq_s32(values, multipliers), shifts);
}

/* What becomes of four sums: those of channels c .. c+3, or one factor for all. */
typedef struct {
    int32x4_t multiplier, shift, zero, low, high;
} answer;

static inline answer answer_of(const mcu_layer *l, int32x4_t multiplier, int32x4_t shift)
{
    const answer a = {multiplier, shift, vdupq_n_s32(l->out_zero), vdupq_n_s32(l->low), vdupq_n_s32(l->high)};
    return a;
}

static inline int32x4_t answered(int32x4_t sums, const answer *a)
{
    const int32x4_t values = vaddq_s32(rescaled(sums, a->multiplier, a->shift), a->zero);
    return vminq_s32(vmaxq_s32(values, a->low), a->high);
}

/* ---- products ---- */

static inline int32x4_t vector_of(int32_t s0, int32_t s1, int32_t s2, int32_t s3)
{
    int32x4_t v;
    __asm__("vmov %e0, %1, %2\n\tvmov %f0, %3, %4" : "=&w"(v) : "r"(s0), "r"(s1), "r"(s2), "r"(s3));
    return v;
}

/* One place's products with four channels' weights, added to their biases. */
static inline int32x4_t sums_of_4(const int8_t *a, const int8_t *w, int taps, const int32_t *bias)
{
    const int8_t *w1 = w + taps, *w2 = w1 + taps, *w3 = w2 + taps;
    int32_t s0, s1, s2, s3;
    __asm__ volatile("ldrd %[s0], %[s1], [%[bias]]\n\t"
                     "ldrd %[s2], %[s3], [%[bias], #8]\n\t"
                     "wlstp.8 lr, %[taps], 2f\n"
                     "1:\n\t"
                     "vldrb.8 q0, [%[a]], #16\n\t"
                     "vldrb.8 q1, [%[w0]], #16\n\t"
                     "vmladava.s8 %[s0], q0, q1\n\t"
                     "vldrb.8 q2, [%[w1]], #16\n\t"
                     "vmladava.s8 %[s1], q0, q2\n\t"
                     "vldrb.8 q1, [%[w2]], #16\n\t"
                     "vmladava.s8 %[s2], q0, q1\n\t"
                     "vldrb.8 q2, [%[w3]], #16\n\t"
                     "vmladava.s8 %[s3], q0, q2\n\t"
                     "letp lr, 1b\n"
                     "2:"
                     : [s0] "=&Te"(s0), [s1] "=&Te"(s1), [s2] "=&Te"(s2), [s3] "=&Te"(s3), [a] "+r"(a), [w0] "+r"(w),
                       [w1] "+r"(w1), [w2] "+r"(w2), [w3] "+r"(w3)
                     : [taps] "r"(taps), [bias] "r"(bias)
                     : "q0", "q1", "q2", "lr", "memory");
    return vector_of(s0, s1, s2, s3);
}

static int32_t dot(const int8_t *a, const int8_t *w, int taps)
{
    int32_t sum = 0;
    __asm__ volatile("wlstp.8 lr, %[taps], 2f\n"
                     "1:\n\t"
                     "vldrb.8 q0, [%[a]], #16\n\t"
                     "vldrb.8 q1, [%[w]], #16\n\t"
                     "vmladava.s8 %[sum], q0, q1\n\t"
                     "letp lr, 1b\n"
                     "2:"
                     : [sum] "+Te"(sum), [a] "+r"(a), [w] "+r"(w)
                     : [taps] "r"(taps)
                     : "q0", "q1", "lr", "memory");
    return sum;
}

/* Four channels of all places, of 16 taps: their weights stay in registers, and narrowing limits the answers to bytes.
 * All eight vector registers are taken, so that compilers would spill some. */
static void product_of_16(const int8_t *in, int count, const int8_t *w, const int32_t *biases, const answer *given,
                          int8_t *out, int channels)
{
    const int8x16_t w0 = vld1q_s8(w), w1 = vld1q_s8(w + 16), w2 = vld1q_s8(w + 32), w3 = vld1q_s8(w + 48);
    int32x4_t values, other;
    int32_t s0, s1, s2, s3;
    __asm__ volatile("wls lr, %[count], 2f\n"
                     "1:\n\t"
                     "vldrb.8 %q[v], [%[in]], #16\n\t"
                     "vmladav.s8 %[s0], %q[v], %q[w0]\n\t"
                     "vmladav.s8 %[s1], %q[v], %q[w1]\n\t"
                     "vmladav.s8 %[s2], %q[v], %q[w2]\n\t"
                     "vmladav.s8 %[s3], %q[v], %q[w3]\n\t"
                     "vldrw.u32 %q[o], [%[biases]]\n\t"
                     "vmov %e[v], %[s0], %[s1]\n\t"
                     "vmov %f[v], %[s2], %[s3]\n\t"
                     "vadd.i32 %q[v], %q[v], %q[o]\n\t"
                     "vqrdmulh.s32 %q[v], %q[v], %q[m]\n\t" /* from here as `rescaled` */
                     "vand %q[o], %q[v], %q[shift]\n\t"
                     "vshr.s32 %q[o], %q[o], #31\n\t"
                     "vadd.i32 %q[v], %q[v], %q[o]\n\t"
                     "vrshl.s32 %q[v], %q[v], %q[shift]\n\t"
                     "vadd.i32 %q[v], %q[v], %[zero]\n\t"
                     "vqmovnb.s32 %q[v], %q[v]\n\t"
                     "vqmovnb.s16 %q[v], %q[v]\n\t"
                     "vstrb.32 %q[v], [%[out]]\n\t"
                     "add %[out], %[out], %[step]\n\t"
                     "le lr, 1b\n"
                     "2:"
                     : [v] "=&w"(values), [o] "=&w"(other), [s0] "=&Te"(s0), [s1] "=&Te"(s1), [s2] "=&Te"(s2),
                       [s3] "=&Te"(s3), [in] "+r"(in), [out] "+r"(out)
                     : [w0] "w"(w0), [w1] "w"(w1), [w2] "w"(w2), [w3] "w"(w3), [m] "w"(given->multiplier),
                       [shift] "w"(given->shift), [zero] "r"(vgetq_lane_s32(given->zero, 0)), [biases] "r"(biases),
                       [step] "r"(channels), [count] "r"(count)
                     : "lr", "memory");
}

/* The same of any number of taps, and of answers that an activation function cuts off. */
static void product_of_any(const int8_t *in, int count, int taps, const int8_t *w, const int32_t *biases,
                           const answer *given, int8_t *out, int channels)
{
    const answer a = *given; /* the answers' bytes could be anything's, but not this one's */
    for (const int8_t *end = in + taps * count; in < end; in += taps, out += channels)
        vstrbq_s32(out, answered(sums_of_4(in, w, taps, biases), &a));
}

/* `count` places of `taps` bytes each, one after the other, times all channels' weights. */
static void product(const mcu_layer *l, const int8_t *in, int count, int taps, int8_t *out)
{
    const int channels = l->out_c, fours = only_shrinks(l, channels) ? channels - channels % 4 : 0;
    const int any_byte = l->low == -128 && l->high == 127;
    const int8_t *w = l->weight;
    for (int c = 0; c < fours; c += 4, w += 4 * taps) {
        const answer a = answer_of(l, vld1q_s32(l->multiplier + c), vldrbq_s32(l->shift + c));
        if (taps == 16 && any_byte)
            product_of_16(in, count, w, l->bias + c, &a, out + c, channels);
        else
            product_of_any(in, count, taps, w, l->bias + c, &a, out + c, channels);
    }
    for (int c = fours; c < channels; c++, w += taps)
        for (int p = 0; p < count; p++)
            out[p * channels + c] = finished(dot(in + p * taps, w, taps) + l->bias[c], l, c);
}

/* ---- depthwise: sixteen channels of an output ---- */

#define CHANNELS 16
#define MOST_WIDE 7 /* columns of a kernel */

/* Widening twice splits channels in four: 0, 4, 8, 12; then 2, 6 ..; 1, 5 ..; and 3, 7 .. . */
typedef struct {
    int32x4_t of[4];
} quarters;

/* Of sixteen channels. */
typedef struct {
    quarters start; /* of a sum, see start_of */
    quarters multiplier, shift;
    int32x4_t low, high; /* of bytes */
    quarters bias;
    int16x8_t even[MOST_WIDE], odd[MOST_WIDE]; /* sums of weights, by column of the kernel */
    const int8_t *weight;                      /* of the first channel */
    int step;                                  /* from one column to the next */
    int first_row, last_row;                   /* of the kernel, inside of the image */
    int pairs;                                 /* whether two products' sum fits 16 bits: not of -128 with -128 */
    int zero;                                  /* of the answer */
} block;

/* A vector of the block, by one instruction: compilers keep the address of each one, and not in registers. */
#define OF_BLOCK(member, i) vector_at(own, (int)offsetof(block, member) + 16 * (i))
INLINED int32x4_t vector_at(const block *own, const int offset)
{
    int32x4_t v;
    __asm__("vldrw.u32 %q0, [%1, %2]" : "=w"(v) : "r"(own), "i"(offset), "m"(*own));
    return v;
}

static inline quarters widened(int16x8_t even, int16x8_t odd)
{
    const quarters q = {{vmovlbq_s16(even), vmovltq_s16(even), vmovlbq_s16(odd), vmovltq_s16(odd)}};
    return q;
}

static inline quarters words_of(const int32_t *from)
{
    const int32x4x4_t every_fourth = vld4q_s32(from);
    const quarters q = {{every_fourth.val[0], every_fourth.val[2], every_fourth.val[1], every_fourth.val[3]}};
    return q;
}

static inline quarters bytes_of(const int8_t *from)
{
    const int8x16_t all = vld1q_s8(from);
    return widened(vmovlbq_s8(all), vmovltq_s8(all));
}

static void block_of(const mcu_layer *l, const int8_t *const *rows, int c, block *to)
{
    int8x16_t least = vdupq_n_s8(0);
    to->weight = l->weight + c;
    to->step = l->in_c;
    to->zero = l->out_zero;
    to->low = vreinterpretq_s32_s8(vdupq_n_s8(l->low));
    to->high = vreinterpretq_s32_s8(vdupq_n_s8(l->high));
    to->bias = words_of(l->bias + c);
    to->multiplier = words_of(l->multiplier + c);
    to->shift = bytes_of(l->shift + c);
    to->first_row = 0;
    to->last_row = l->kernel_h;
    while (to->first_row < to->last_row && rows[to->first_row] == NULL)
        to->first_row++;
    while (to->last_row > to->first_row && rows[to->last_row - 1] == NULL)
        to->last_row--;
    const int step = to->step, row_of_weights = l->kernel_w * step, rows_inside = to->last_row - to->first_row;
    const int8_t *column = to->weight + to->first_row * row_of_weights;
    for (int kx = 0; kx < l->kernel_w; kx++, column += step) {
        int16x8_t even = vdupq_n_s16(0), odd = vdupq_n_s16(0);
        const int8_t *w = column;
        for (int ky = 0; ky < rows_inside; ky++, w += row_of_weights) {
            const int8x16_t weights = vld1q_s8(w);
            least = vminq_s8(least, weights);
            even = vaddq_s16(even, vmovlbq_s8(weights));
            odd = vaddq_s16(odd, vmovltq_s8(weights));
        }
        to->even[kx] = even;
        to->odd[kx] = odd;
    }
    to->pairs = vminvq_s8(0, least) > -128;
}

/* What a sum starts with: bias - zero point * sum of weights, so that activations need not be brought to zero. */
static void start_of(block *own, int first, int last, int zero)
{
    int16x8_t even = vdupq_n_s16(0), odd = vdupq_n_s16(0);
    for (int kx = first; kx < last; kx++) {
        even = vaddq_s16(even, own->even[kx]);
        odd = vaddq_s16(odd, own->odd[kx]);
    }
    const quarters weights = widened(even, odd);
    for (int i = 0; i < 4; i++)
        own->start.of[i] = vsubq_s32(own->bias.of[i], vmulq_n_s32(weights.of[i], zero));
}

/* Sums of 16-bit products, of even channels and of odd ones, without 32 bits for each: `low` is the sum modulo 2^16,
 * `high` the sum of the products divided by 256, each rounded down. What rounding takes away is less than 256 each
 * time, of at most 7 * 32 products less than 2^16 in all: it is `low` - 256 * `high` modulo 2^16, nothing is lost. */
typedef struct {
    int16x8_t even_low, even_high, odd_low, odd_high;
} split_sums;

#define ADD_TO_SPLIT(even, odd) \
    "vadd.i16 %q[el], %q[el], " even "\n\t" \
    "vqdmlah.s16 %q[eh], " even ", %[half]\n\t" /* twice 128 times it, divided by 2^16 */ \
    "vadd.i16 %q[ol], %q[ol], " odd "\n\t" \
    "vqdmlah.s16 %q[oh], " odd ", %[half]\n\t"

/* `count` columns of one row of the kernel. */
static inline void add_row_of(const int8_t *a, const int8_t *w, int step, int count, split_sums *to)
{
    int16x8_t x, y, z;
    __asm__ volatile("wls lr, %[count], 2f\n"
                     "1:\n\t"
                     "vldrb.8 %q[x], [%[a]]\n\t"
                     "vldrb.8 %q[y], [%[w]]\n\t"
                     "add %[a], %[a], %[step]\n\t"
                     "add %[w], %[w], %[step]\n\t"
                     "vmullb.s8 %q[z], %q[x], %q[y]\n\t"
                     "vmullt.s8 %q[x], %q[x], %q[y]\n\t"
                     ADD_TO_SPLIT("%q[z]", "%q[x]")
                     "le lr, 1b\n"
                     "2:"
                     : [el] "+w"(to->even_low), [eh] "+w"(to->even_high), [ol] "+w"(to->odd_low),
                       [oh] "+w"(to->odd_high), [x] "=&w"(x), [y] "=&w"(y), [z] "=&w"(z), [a] "+r"(a), [w] "+r"(w)
                     : [step] "r"(step), [count] "r"(count), [half] "r"(128)
                     : "lr", "memory");
}

/* `count` columns of two rows of the kernel, whose products are added first. */
static inline void add_two_rows_of(const int8_t *a, const int8_t *b, const int8_t *v, const int8_t *w, int step,
                                   int count, split_sums *to)
{
    int16x8_t x, y, z, t;
    __asm__ volatile("wls lr, %[count], 2f\n"
                     "1:\n\t"
                     "vldrb.8 %q[x], [%[a]]\n\t"
                     "vldrb.8 %q[y], [%[v]]\n\t"
                     "add %[a], %[a], %[step]\n\t"
                     "vmullb.s8 %q[z], %q[x], %q[y]\n\t"
                     "vldrb.8 %q[t], [%[b]]\n\t"
                     "vmullt.s8 %q[x], %q[x], %q[y]\n\t"
                     "vldrb.8 %q[y], [%[w]]\n\t"
                     "add %[v], %[v], %[step]\n\t"
                     "vmullt.s8 %q[t], %q[t], %q[y]\n\t"
                     "add %[w], %[w], %[step]\n\t"
                     "vadd.i16 %q[x], %q[x], %q[t]\n\t"
                     "vldrb.8 %q[t], [%[b]]\n\t" /* again: no register is left for both halves */
                     "add %[b], %[b], %[step]\n\t"
                     "vmullb.s8 %q[t], %q[t], %q[y]\n\t"
                     "vadd.i16 %q[z], %q[z], %q[t]\n\t"
                     ADD_TO_SPLIT("%q[z]", "%q[x]")
                     "le lr, 1b\n"
                     "2:"
                     : [el] "+w"(to->even_low), [eh] "+w"(to->even_high), [ol] "+w"(to->odd_low),
                       [oh] "+w"(to->odd_high), [x] "=&w"(x), [y] "=&w"(y), [z] "=&w"(z), [t] "=&w"(t), [a] "+r"(a),
                       [b] "+r"(b), [v] "+r"(v), [w] "+r"(w)
                     : [step] "r"(step), [count] "r"(count), [half] "r"(128)
                     : "lr", "memory");
}

INLINED int32x4_t quarter(const block *own, const int i, int32x4_t high, uint16x8_t rest)
{
    const int32x4_t low = vreinterpretq_s32_u32(i % 2 == 0 ? vmovlbq_u16(rest) : vmovltq_u16(rest));
    const int32x4_t sums = vaddq_s32(vaddq_s32(OF_BLOCK(start, i), high), low);
    return rescaled(sums, OF_BLOCK(multiplier, i), OF_BLOCK(shift, i));
}

/* Eight channels, every second one, as 16 bits. */
INLINED int16x8_t half_answered(const block *own, const int i, int16x8_t low, int16x8_t high)
{
    const uint16x8_t rest = vreinterpretq_u16_s16(vsubq_s16(low, vshlq_n_s16(high, 8)));
    int16x8_t both = vqmovnbq_s32(vuninitializedq_s16(), quarter(own, i, vshllbq_n_s16(high, 8), rest));
    both = vqmovntq_s32(both, quarter(own, i + 1, vshlltq_n_s16(high, 8), rest));
    return vqaddq_n_s16(both, (int16_t)own->zero);
}

static inline void put_16(const block *own, const split_sums *sums, int8_t *out)
{
    const int16x8_t even = half_answered(own, 0, sums->even_low, sums->even_high);
    const int16x8_t odd = half_answered(own, 2, sums->odd_low, sums->odd_high);
    const int8x16_t all = vqmovntq_s16(vqmovnbq_s16(vuninitializedq_s8(), even), odd);
    const int8x16_t low = vreinterpretq_s8_s32(OF_BLOCK(low, 0)), high = vreinterpretq_s8_s32(OF_BLOCK(high, 0));
    vst1q_s8(out, vminq_s8(vmaxq_s8(all, low), high));
}

/* `count` outputs whose kernels have the columns first .. last inside of the image; `in` is where those of the first
 * one begin, from the start of each row. */
OWN_FRAME void outputs_of(const block *own, const int8_t *const *rows, ptrdiff_t in, int in_step, const mcu_layer *l,
                          int first, int last, int8_t *out, int count)
{
    const int step = own->step, row_of_weights = l->kernel_w * step;
    const int columns = last > first ? last - first : 0; /* none where padding is wider than the kernel */
    const int8_t *weight = own->weight + own->first_row * row_of_weights + first * step;
    const int8_t *const *end = rows + own->last_row, *const *last_pair = own->pairs ? end - 1 : rows;
    for (; count > 0; count--, in += in_step, out += step) {
        split_sums sums = {vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0)};
        const int8_t *w = weight;
        for (const int8_t *const *row = rows + own->first_row; row < end; row++, w += row_of_weights) {
            if (row < last_pair) {
                add_two_rows_of(row[0] + in, row[1] + in, w, w + row_of_weights, step, columns, &sums);
                row++, w += row_of_weights;
            } else
                add_row_of(*row + in, w, step, columns, &sums);
        }
        put_16(own, &sums, out);
    }
}

/* Channels c .. c+15 of a row: stretches of outputs whose kernels are inside of the image alike. */
OWN_FRAME void depthwise_16(const mcu_layer *l, const int8_t *const *rows, int in_x0, int c, int8_t *out, int x0,
                            int x1)
{
    block own;
    block_of(l, rows, c, &own);
    for (int x = x0, behind; x < x1; x = behind) {
        int first, last, column;
        inside(l, x, &first, &last, &column);
        behind = x + 1;
        if (first == 0 && last == l->kernel_w) /* and so to the last one that fits */
            behind = (l->in_w - l->kernel_w + l->pad_left) / l->stride_w + 1;
        behind = behind < x1 ? behind : x1;
        start_of(&own, first, last, l->in_zero);
        outputs_of(&own, rows, (ptrdiff_t)(column - in_x0) * own.step + c, l->stride_w * own.step, l, first, last,
                   out + (x - x0) * own.step + c, behind - x);
    }
}

/* Where channels are no multiple of sixteen the last block makes some of them again. */
static int depthwise_channels(const mcu_layer *l, const int8_t *const *rows, int in_x0, int8_t *out, int x0, int x1)
{
    const int channels = l->in_c;
    if (channels < CHANNELS || l->kernel_w > MOST_WIDE || !only_shrinks(l, channels))
        return 0;
    for (int c = 0; c < channels; c += CHANNELS)
        depthwise_16(l, rows, in_x0, c + CHANNELS <= channels ? c : channels - CHANNELS, out, x0, x1);
    return channels;
}

/* ---- sums ---- */

static int added(const mcu_layer *l, const int8_t *a, const int8_t *b, int8_t *out, int count)
{
    const int32_t m_a = l->multiplier[0], m_b = l->multiplier[1], m_sum = l->multiplier[2], out_zero = l->out_zero;
    const int32_t zero_a = l->in_zero * (1 << 20), zero_b = l->other_zero * (1 << 20);
    const int32x4_t shift_a = vdupq_n_s32(l->shift[0]), shift_b = vdupq_n_s32(l->shift[1]);
    const int32x4_t shift_sum = vdupq_n_s32(l->shift[2]), low = vdupq_n_s32(l->low), high = vdupq_n_s32(l->high);
    if (!only_shrinks(l, 3))
        return 0;
    const int fours = count - count % 4;
    for (int i = 0; i < fours; i += 4, a += 4, b += 4, out += 4) {
        const int32x4_t from_a = vsubq_n_s32(vshlq_n_s32(vldrbq_s32(a), 20), zero_a);
        const int32x4_t from_b = vsubq_n_s32(vshlq_n_s32(vldrbq_s32(b), 20), zero_b);
        const int32x4_t sum =
            vaddq_s32(shifted(vqrdmulhq_n_s32(from_a, m_a), shift_a), shifted(vqrdmulhq_n_s32(from_b, m_b), shift_b));
        const int32x4_t values = vaddq_n_s32(shifted(vqrdmulhq_n_s32(sum, m_sum), shift_sum), out_zero);
        vstrbq_s32(out, vminq_s32(vmaxq_s32(values, low), high));
    }
    return fours;
}
#endif
