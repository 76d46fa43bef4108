/* Rows by Arm's DSP instructions (Cortex-M4, M7, M33 ...): two products of 16 bits with one instruction.
 *
 * Bytes become pairs of 16 bits: a word's bytes 0 .. 3 the pairs (0, 2) and (1, 3), by one instruction each. Weights
 * are unpacked where they are used, activations once for many channels. Where compilers take more registers than there
 * are, or more instructions than the operands need, those few lines are assembly.
 */
#ifndef MCU_ROWS_DSP_H
#define MCU_ROWS_DSP_H

#include <arm_acle.h>

/* Where a constant argument makes a loop of its own; and where stack must not add up. */
#define INLINED static inline __attribute__((always_inline))
#define OWN_FRAME static __attribute__((noinline))

static inline uint32_t word_at(const int8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint32_t even_bytes(uint32_t word)
{
    return (uint32_t)__sxtb16((int8x4_t)word);
}

static inline uint32_t odd_bytes(uint32_t word)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

static inline uint32_t even_bytes_plus(uint32_t pair, uint32_t word)
{
    return (uint32_t)__sxtab16((int16x2_t)pair, (int8x4_t)word);
}

static inline uint32_t odd_bytes_plus(uint32_t pair, uint32_t word)
{
    uint32_t sum;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(sum) : "r"(pair), "r"(word));
    return sum;
}

/* The lower or the upper halves of two words, side by side. */
static inline uint32_t lower_halves(uint32_t first, uint32_t second)
{
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(first), "r"(second));
    return pair;
}

static inline uint32_t upper_halves(uint32_t first, uint32_t second)
{
    uint32_t pair;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(second), "r"(first));
    return pair;
}

/* ---- rescaling ---- */

/* A factor of 2^-1 or less, whose sums stay below 2^30: then the first rounding is that of SMMLAR, and what the second
 * one adds before it shifts may be added by the same instruction. The answer's zero point comes along in `half`. */
typedef struct {
    int32_t multiplier, half, right;
} factor;

#define MOST_RIGHT 20 /* the zero point, shifted, must fit */

/* Products, of up to 2^14 taps, add up to 2^28 to a bias. */
static inline int fits_factor(int32_t bias, int shift)
{
    return (((uint32_t)bias + 0x20000000u) & 0xc0000000u) == 0 && (uint32_t)(shift + MOST_RIGHT) < MOST_RIGHT;
}

static inline factor factor_of(int32_t multiplier, int shift, int32_t zero)
{
    const factor f = {multiplier, (2 * zero + 1) * (1 << (-shift - 1)), -shift};
    return f;
}

/* (2 * value * multiplier + 2^31) >> 32 + half - (value < 0), shifted: halves go away from zero. Where the first
 * rounding makes a negative value 0, taking 1 away changes nothing. */
static inline int32_t by_factor(int32_t value, factor f)
{
    int32_t high;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(high) : "r"(value * 2), "r"(f.multiplier), "r"(f.half + (value >> 31)));
    return high >> f.right;
}

static inline int8_t between(int32_t value, int32_t low, int32_t high)
{
    value = value < low ? low : value;
    value = value > high ? high : value;
    return (int8_t)value;
}

/* The same as above, and to any byte: seven instructions, and one pointer for all answers. */
static inline int8_t *put(int32_t value, factor f, int8_t *out, int step)
{
    int32_t scaled;
    __asm__ volatile("add %[s], %[half], %[v], asr #31\n\t"
                     "lsl %[v], %[v], #1\n\t"
                     "smmlar %[s], %[v], %[m], %[s]\n\t"
                     "asr %[s], %[s], %[right]\n\t"
                     "ssat %[s], #8, %[s]\n\t"
                     "strb %[s], [%[out]]\n\t"
                     "add %[out], %[out], %[step]"
                     : [s] "=&r"(scaled), [v] "+r"(value), [out] "+r"(out)
                     : [m] "r"(f.multiplier), [half] "r"(f.half), [right] "r"(f.right), [step] "r"(step)
                     : "memory");
    return out;
}

/* Answers that an activation function cuts off, or that the factor does not fit; `sums` are so far apart. */
OWN_FRAME void finish_slowly(const mcu_layer *l, int c, const int32_t *sums, int sum_step, int count, int8_t *out)
{
    const int channels = l->out_c, low = l->low, high = l->high;
    if (fits_factor(l->bias[c], l->shift[c])) {
        const factor f = factor_of(l->multiplier[c], l->shift[c], l->out_zero);
        for (; count > 0; count--, sums += sum_step, out += channels)
            *out = between(by_factor(*sums, f), low, high);
    }
    for (; count > 0; count--, sums += sum_step, out += channels)
        *out = finished(*sums, l, c);
}

static inline int any_byte(const mcu_layer *l)
{
    return l->low == -128 && l->high == 127;
}

/* ---- products ---- */

#define PAIRED_WORDS 64 /* 512 bytes of stack */
#define BLOCK 16        /* channels whose sums wait while the next taps are unpacked: 256 bytes */
#define MOST_PLACES 4

/* The last `count` bytes before `end`, 1 to 4 of at least `all`, as the low bytes of a word. */
static inline uint32_t last_bytes(const int8_t *end, int count, int all)
{
    uint32_t word = 0;
    if (all >= 4)
        return word_at(end - 4) >> (8 * (4 - count));
    for (int i = 1; i <= count; i++)
        word = word << 8 | (uint8_t)end[-i];
    return word;
}

static inline uint64_t unpacked(uint32_t word)
{
    return even_bytes(word) | (uint64_t)odd_bytes(word) << 32;
}

/* `count` taps of `places` inputs that lie `taps` bytes apart: of each word its even pair and its odd one. */
INLINED void unpack(const int8_t *in, int count, int taps, const int places, uint64_t *pairs)
{
    for (int p = 0; p < places; p++, in += taps) {
        const int8_t *a = in, *end = in + count;
        uint64_t *pair = pairs + p;
#pragma GCC unroll 4
        for (; a + 4 <= end; a += 4, pair += places)
            *pair = unpacked(word_at(a));
        if (a < end)
            *pair = unpacked(last_bytes(end, (int)(end - a), taps));
    }
}

static inline int32_t plus_word(int32_t sum, uint64_t activations, uint64_t weights)
{
    return __smlad((int16x2_t)(uint32_t)(activations >> 32), (int16x2_t)(uint32_t)(weights >> 32),
                   __smlad((int16x2_t)(uint32_t)activations, (int16x2_t)(uint32_t)weights, sum));
}

INLINED void add_word(const uint64_t *pairs, uint32_t word, const int places, int32_t *sums)
{
    const uint64_t weights = unpacked(word);
    for (int p = 0; p < places; p++)
        sums[p] = plus_word(sums[p], pairs[p], weights);
}

/* One word's products of two places and of one; compilers run out of registers here. */
#define NEXT_WEIGHTS \
    "ldr %[even], [%[w]], #4\n\t" \
    "sxtb16 %[odd], %[even], ror #8\n\t" \
    "sxtb16 %[even], %[even]\n\t"
#define TWO_PLACES(first, second) \
    "ldmia %[a]!, {r4, r5, r6, r8}\n\t" \
    "smlad " first ", r4, %[even], " first "\n\t" \
    "smlad " second ", r6, %[even], " second "\n\t" \
    "smlad " first ", r5, %[odd], " first "\n\t" \
    "smlad " second ", r8, %[odd], " second "\n\t"
#define ONE_PLACE(only) \
    "ldrd r4, r5, [%[a]], #8\n\t" \
    "smlad " only ", r4, %[even], " only "\n\t" \
    "smlad " only ", r5, %[odd], " only "\n\t"
#define TWICE_UNTIL_END(step) "1:\n\t" step step "cmp %[w], %[end]\n\tbne 1b"

/* All products of w .. end, a multiple of two words; returns the end. */
INLINED const int8_t *add_words(const uint64_t *a, const int8_t *w, const int8_t *end, const int places, int32_t *sums)
{
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    uint32_t even, odd;
    if (places == 4)
        __asm__ volatile(TWICE_UNTIL_END(NEXT_WEIGHTS TWO_PLACES("%[s0]", "%[s1]") TWO_PLACES("%[s2]", "%[s3]"))
                         : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [a] "+r"(a), [w] "+r"(w),
                           [even] "=&r"(even), [odd] "=&r"(odd)
                         : [end] "r"(end)
                         : "r4", "r5", "r6", "r8", "cc", "memory");
    else if (places == 3)
        __asm__ volatile(TWICE_UNTIL_END(NEXT_WEIGHTS TWO_PLACES("%[s0]", "%[s1]") ONE_PLACE("%[s2]"))
                         : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [a] "+r"(a), [w] "+r"(w),
                           [even] "=&r"(even), [odd] "=&r"(odd)
                         : [end] "r"(end)
                         : "r4", "r5", "r6", "r8", "cc", "memory");
    else if (places == 2)
        __asm__ volatile(TWICE_UNTIL_END(NEXT_WEIGHTS TWO_PLACES("%[s0]", "%[s1]"))
                         : [s0] "+r"(s0), [s1] "+r"(s1), [a] "+r"(a), [w] "+r"(w), [even] "=&r"(even), [odd] "=&r"(odd)
                         : [end] "r"(end)
                         : "r4", "r5", "r6", "r8", "cc", "memory");
    else
        __asm__ volatile(TWICE_UNTIL_END(NEXT_WEIGHTS ONE_PLACE("%[s0]"))
                         : [s0] "+r"(s0), [a] "+r"(a), [w] "+r"(w), [even] "=&r"(even), [odd] "=&r"(odd)
                         : [end] "r"(end)
                         : "r4", "r5", "cc", "memory");
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
    return w;
}

/* Adds `count` of the `taps` products of each of `block` channels to each place's sum. */
INLINED void add_products(const uint64_t *pairs, const int8_t *w, int count, int taps, int block, const int places,
                          int32_t (*sums)[MOST_PLACES])
{
    const int paired = count - count % 8, rest = count - paired;
    const int32_t(*end)[MOST_PLACES] = sums + block;
    if (paired > 0)
        for (int32_t(*s)[MOST_PLACES] = sums; s < end; s++)
            w = add_words(pairs, w, w + paired, places, *s) + (taps - paired);
    if (rest == 0)
        return;
    w += paired - (paired > 0 ? block * taps : 0);
    pairs += paired / 4 * places;
    for (; sums < end; sums++, w += taps) {
        if (rest >= 4)
            add_word(pairs, word_at(w), places, *sums);
        if (rest % 4 != 0)
            add_word(pairs + rest / 4 * places, last_bytes(w + rest, rest % 4, taps), places, *sums);
    }
}

INLINED void finish_products(const mcu_layer *l, int first, int block, const int places, int32_t (*sums)[MOST_PLACES],
                             int8_t *out)
{
    const int channels = l->out_c, zero = l->out_zero, whole = any_byte(l);
    const int32_t *bias = l->bias + first, *multiplier = l->multiplier + first;
    const int8_t *shift = l->shift + first;
    for (const int32_t(*end)[MOST_PLACES] = sums + block; sums < end; sums++, out++, multiplier++) {
        const int s = *shift++;
        if (!fits_factor(*bias++, s) || !whole) {
            finish_slowly(l, (int)(multiplier - l->multiplier), *sums, 1, places, out);
            continue;
        }
        const factor f = factor_of(*multiplier, s, zero);
        int8_t *o = put((*sums)[0], f, out, channels);
        if (places > 1)
            o = put((*sums)[1], f, o, channels);
        if (places > 2)
            o = put((*sums)[2], f, o, channels);
        if (places > 3)
            put((*sums)[3], f, o, channels);
    }
}

typedef struct {
    int places;
    void (*unpack)(const int8_t *in, int count, int taps, uint64_t *pairs);
    void (*add)(const uint64_t *pairs, const int8_t *w, int count, int taps, int block, int32_t (*sums)[MOST_PLACES]);
    void (*finish)(const mcu_layer *l, int first, int block, int32_t (*sums)[MOST_PLACES], int8_t *out);
} products_of;

/* The functions for a number of places, which is a constant inside of them. */
#define PRODUCTS_OF(n) \
    static void unpack_##n(const int8_t *in, int count, int taps, uint64_t *pairs) \
    { \
        unpack(in, count, taps, n, pairs); \
    } \
    static void add_##n(const uint64_t *pairs, const int8_t *w, int count, int taps, int block, \
                        int32_t (*sums)[MOST_PLACES]) \
    { \
        add_products(pairs, w, count, taps, block, n, sums); \
    } \
    static void finish_##n(const mcu_layer *l, int first, int block, int32_t (*sums)[MOST_PLACES], int8_t *out) \
    { \
        finish_products(l, first, block, n, sums, out); \
    } \
    static const products_of products_of_##n = {n, unpack_##n, add_##n, finish_##n};
PRODUCTS_OF(1)
PRODUCTS_OF(2)
PRODUCTS_OF(3)
PRODUCTS_OF(4)

/* All channels of a few places. Where their taps don't fit the stack they are unpacked again for each block. */
OWN_FRAME void products(const mcu_layer *l, const int8_t *in, int taps, int8_t *out, const products_of *of)
{
    const int channels = l->out_c, most = PAIRED_WORDS / of->places / 2 * 8;
    const int8_t *weights = l->weight;
    uint64_t pairs[PAIRED_WORDS];
    int32_t sums[BLOCK][MOST_PLACES];
    for (int first = 0; first < channels; first += BLOCK, weights += BLOCK * taps, out += BLOCK) {
        const int block = first + BLOCK < channels ? BLOCK : channels - first;
        for (int i = 0; i < block; i++)
            sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = l->bias[first + i];
        for (int from = 0; from < taps; from += most) {
            const int count = from + most < taps ? most : taps - from;
            if (first == 0 || taps > most)
                of->unpack(in + from, count, taps, pairs);
            of->add(pairs, weights + from, count, taps, block, sums);
        }
        of->finish(l, first, block, sums, out);
    }
}

/* `count` places of `taps` bytes each, one after the other, times all channels' weights. */
static void product(const mcu_layer *l, const int8_t *in, int count, int taps, int8_t *out)
{
    static const products_of *const of[] = {NULL, &products_of_1, &products_of_2, &products_of_3, &products_of_4};
    while (count > 0) {
        const int places = count == 5 ? 3 : count < MOST_PLACES ? count : MOST_PLACES;
        products(l, in, taps, out, of[places]);
        in += places * taps;
        out += places * l->out_c;
        count -= places;
    }
}

/* ---- depthwise: four channels of a few neighbouring outputs; products of two kernel rows with one instruction ---- */

#define MOST_WIDE 7     /* columns of a kernel */
#define MOST_COLUMNS 21 /* of the input, for one stretch of outputs */
#define MOST_OUTPUTS 15

/* One column of two rows: for each of four channels a word, of the upper row's value and the lower row's. */
typedef struct {
    uint32_t channel[4];
} column_pair;

/* Two stores, where compilers make four; returns what lies behind. */
static inline column_pair *put_column(column_pair *to, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3)
{
    __asm__ volatile("strd %1, %2, [%0], #8\n\tstrd %3, %4, [%0], #8"
                     : "+r"(to)
                     : "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                     : "memory");
    return to;
}

/* `offset` is added to all. */
INLINED void pair_columns(const int8_t *upper, const int8_t *lower, int count, int step, uint32_t offset,
                          column_pair *to)
{
    for (const column_pair *end = to + count; to < end; upper += step, lower += step) {
        const uint32_t a = word_at(upper), even_a = even_bytes_plus(offset, a), odd_a = odd_bytes_plus(offset, a);
        const uint32_t b = word_at(lower), even_b = even_bytes_plus(offset, b), odd_b = odd_bytes_plus(offset, b);
        to = put_column(to, lower_halves(even_a, even_b), lower_halves(odd_a, odd_b), upper_halves(even_a, even_b),
                        upper_halves(odd_a, odd_b));
    }
}

/* The lower row's values are 0. */
INLINED void pair_with_none(const int8_t *upper, int count, int step, uint32_t offset, column_pair *to)
{
    for (const column_pair *end = to + count; to < end; upper += step) {
        const uint32_t a = word_at(upper), even = even_bytes_plus(offset, a), odd = odd_bytes_plus(offset, a);
        to = put_column(to, even & 0xffff, odd & 0xffff, even >> 16, odd >> 16);
    }
}

/* One column's products for four channels. */
#define NEXT_COLUMN \
    "ldmia %[w]!, {r4, r5, r6, r8}\n\t" \
    "ldrd %[a0], %[a1], [%[a]], #8\n\t" \
    "smlad %[s0], %[a0], r4, %[s0]\n\t" \
    "smlad %[s1], %[a1], r5, %[s1]\n\t" \
    "ldrd %[a0], %[a1], [%[a]], #8\n\t" \
    "smlad %[s2], %[a0], r6, %[s2]\n\t" \
    "smlad %[s3], %[a1], r8, %[s3]\n\t"
#define LOAD_SUMS "ldrd %[s0], %[s1], [%[sums]]\n\tldrd %[s2], %[s3], [%[sums], #8]\n\t"
#define STORE_SUMS "strd %[s0], %[s1], [%[sums]], #8\n\tstrd %[s2], %[s3], [%[sums]], #8\n\t"
#define ADD_COLUMNS(columns) \
    __asm__ volatile(LOAD_SUMS columns STORE_SUMS \
                     : [sums] "+r"(sums), [a] "+r"(a), [w] "+r"(w), [s0] "=&r"(s0), [s1] "=&r"(s1), [s2] "=&r"(s2), \
                       [s3] "=&r"(s3), [a0] "=&r"(a0), [a1] "=&r"(a1)::"r4", "r5", "r6", "r8", "memory")

/* Adds to the four sums of each of `count` outputs. */
INLINED void add_columns(const column_pair *a, const column_pair *w, int count, int stride, const int kernel_w,
                         int32_t (*sums)[4])
{
    const int back = stride - kernel_w;
    uint32_t s0, s1, s2, s3, a0, a1;
    for (const int32_t(*end)[4] = sums + count; sums < end; a += back, w -= kernel_w) {
        if (kernel_w == 7)
            ADD_COLUMNS(NEXT_COLUMN NEXT_COLUMN NEXT_COLUMN NEXT_COLUMN NEXT_COLUMN NEXT_COLUMN NEXT_COLUMN);
        else if (kernel_w == 5)
            ADD_COLUMNS(NEXT_COLUMN NEXT_COLUMN NEXT_COLUMN NEXT_COLUMN NEXT_COLUMN);
        else if (kernel_w == 3)
            ADD_COLUMNS(NEXT_COLUMN NEXT_COLUMN NEXT_COLUMN);
        else
            ADD_COLUMNS(NEXT_COLUMN);
    }
}

INLINED void add_rows(const column_pair *a, const column_pair *w, int count, int stride, int kernel_w,
                      int32_t (*sums)[4])
{
    if (kernel_w == 7)
        add_columns(a, w, count, stride, 7, sums);
    else if (kernel_w == 5)
        add_columns(a, w, count, stride, 5, sums);
    else if (kernel_w == 3)
        add_columns(a, w, count, stride, 3, sums);
    else
        for (int kx = 0; kx < kernel_w; kx++)
            add_columns(a + kx, w + kx, count, stride, 1, sums);
}

/* The answers of `count` outputs, of channels c .. c+3. */
INLINED void finish_channels(const mcu_layer *l, int c, int32_t (*sums)[4], int count, int8_t *out)
{
    const int channels = l->in_c, whole = any_byte(l);
    for (int k = 0; k < 4; k++, c++) {
        if (!whole || !fits_factor(l->bias[c], l->shift[c])) {
            finish_slowly(l, c, *sums + k, 4, count, out + c);
            continue;
        }
        const factor f = factor_of(l->multiplier[c], l->shift[c], l->out_zero);
        int8_t *o = out + c;
        for (const int32_t *sum = *sums + k, *end = sum + 4 * count; sum < end; sum += 4)
            o = put(*sum, f, o, channels);
    }
}

/* The row of the kernel after `ky` that lies inside of the image, or their number. */
static inline int next_inside(const mcu_layer *l, const int8_t *const *rows, int ky)
{
    do
        ky++;
    while (ky < l->kernel_h && rows[ky] == NULL);
    return ky;
}

/* `count` outputs from column x on, of channels c .. c+3. */
OWN_FRAME void depthwise_4(const mcu_layer *l, const int8_t *const *rows, int in_x0, int x, int count, int c,
                           int8_t *out)
{
    const int channels = l->in_c, kernel_w = l->kernel_w, stride = l->stride_w;
    const int left = x * stride - l->pad_left, columns = (count - 1) * stride + kernel_w;
    int before = left < 0 ? -left : 0, after = left + columns > l->in_w ? left + columns - l->in_w : 0;
    before = before < columns ? before : columns; /* all, where padding is wider than the kernel */
    after = after < columns - before ? after : columns - before;
    const int given = columns - before - after, row_of_weights = kernel_w * channels;
    const ptrdiff_t start = (ptrdiff_t)(left + before - in_x0) * channels + c;
    const uint32_t minus_zero = ((uint32_t)-l->in_zero & 0xffff) * 0x10001;
    const int32_t b0 = l->bias[c], b1 = l->bias[c + 1], b2 = l->bias[c + 2], b3 = l->bias[c + 3];
    column_pair a[MOST_COLUMNS], w[MOST_WIDE];
    int32_t sums[MOST_OUTPUTS][4];
    for (int i = 0; i < count; i++)
        sums[i][0] = b0, sums[i][1] = b1, sums[i][2] = b2, sums[i][3] = b3;
    memset(a, 0, (size_t)before * sizeof *a); /* outside of the image is the zero point */
    memset(a + before + given, 0, (size_t)after * sizeof *a);
    for (int ky = next_inside(l, rows, -1), other; ky < l->kernel_h; ky = next_inside(l, rows, other)) {
        const int8_t *weight = l->weight + c, *upper = weight + ky * row_of_weights;
        other = next_inside(l, rows, ky);
        if (other < l->kernel_h) {
            pair_columns(upper, weight + other * row_of_weights, kernel_w, channels, 0, w);
            pair_columns(rows[ky] + start, rows[other] + start, given, channels, minus_zero, a + before);
        } else {
            pair_with_none(upper, kernel_w, channels, 0, w);
            pair_with_none(rows[ky] + start, given, channels, minus_zero, a + before);
        }
        add_rows(a, w, count, stride, kernel_w, sums);
    }
    finish_channels(l, c, sums, count, out);
}

static int depthwise_channels(const mcu_layer *l, const int8_t *const *rows, int in_x0, int8_t *out, int x0, int x1)
{
    const int fitting = 1 + (MOST_COLUMNS - l->kernel_w) / l->stride_w, made = l->in_c - l->in_c % 4;
    const int most = fitting < MOST_OUTPUTS ? fitting : MOST_OUTPUTS;
    if (l->kernel_w > MOST_WIDE)
        return 0;
    for (int x = x0, count; x < x1; x += count, out += count * l->in_c) {
        const int parts = (x1 - x + most - 1) / most;
        count = (x1 - x + parts - 1) / parts; /* all about equal */
        for (int c = 0; c < made; c += 4)
            depthwise_4(l, rows, in_x0, x, count, c, out);
    }
    return made;
}

/* ---- sums ---- */

/* A factor of 1 or less; of 1 itself nothing is added before the shift by 0. */
typedef struct {
    factor f;
    int32_t signs; /* what of a value's sign is added */
} any_factor;

static inline int fits_any_factor(int shift)
{
    return shift == 0 || fits_factor(0, shift);
}

static inline any_factor any_factor_of(int32_t multiplier, int shift, int32_t zero)
{
    const any_factor one = {{multiplier, zero, 0}, 0};
    const any_factor less = {shift < 0 ? factor_of(multiplier, shift, zero) : one.f, -1};
    return shift < 0 ? less : one;
}

/* As `by_factor`, of half the value. */
static inline int32_t by_any_factor(int32_t twice, any_factor a)
{
    int32_t high;
    __asm__("smmlar %0, %1, %2, %3"
            : "=r"(high)
            : "r"(twice), "r"(a.f.multiplier), "r"(a.f.half + ((twice >> 31) & a.signs)));
    return high >> a.f.right;
}

static int added(const mcu_layer *l, const int8_t *a, const int8_t *b, int8_t *out, int count)
{
    const int32_t low = l->low, high = l->high, zero_a = l->in_zero, zero_b = l->other_zero;
    if (!fits_any_factor(l->shift[0]) || !fits_any_factor(l->shift[1]) || !fits_any_factor(l->shift[2]))
        return 0;
    const any_factor left = any_factor_of(l->multiplier[0], l->shift[0], 0);
    const any_factor right = any_factor_of(l->multiplier[1], l->shift[1], 0);
    const any_factor whole = any_factor_of(l->multiplier[2], l->shift[2], l->out_zero);
    for (int i = 0; i < count; i++) {
        const int32_t sum = by_any_factor((a[i] - zero_a) * (1 << 21), left) +
                            by_any_factor((b[i] - zero_b) * (1 << 21), right);
        out[i] = between(by_any_factor(sum * 2, whole), low, high);
    }
    return count;
}
#endif
