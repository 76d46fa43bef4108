/* Rows in C alone: what every processor runs, and what the others must answer to the last bit.
 *
 * Each rows_*.h defines three functions: `product`; `depthwise_channels`, which makes the first channels of a row and
 * returns how many; and `added`, which makes the first bytes of a sum and returns how many.
 */
#ifndef MCU_ROWS_PLAIN_H
#define MCU_ROWS_PLAIN_H

/* `count` places of `taps` bytes each, one after the other, times all channels' weights. */
static void product(const mcu_layer *l, const int8_t *in, int count, int taps, int8_t *out)
{
    for (int p = 0; p < count; p++, in += taps) {
        const int8_t *w = l->weight;
        for (int c = 0; c < l->out_c; c++) {
            int32_t sum = l->bias[c];
            for (int k = 0; k < taps; k++)
                sum += in[k] * *w++;
            *out++ = finished(sum, l, c);
        }
    }
}

static int depthwise_channels(const mcu_layer *l, const int8_t *const *rows, int in_x0, int8_t *out, int x0, int x1)
{
    (void)l, (void)rows, (void)in_x0, (void)out, (void)x0, (void)x1;
    return 0;
}

static int added(const mcu_layer *l, const int8_t *a, const int8_t *b, int8_t *out, int count)
{
    (void)l, (void)a, (void)b, (void)out, (void)count;
    return 0;
}
#endif
