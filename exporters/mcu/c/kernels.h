/* Layers of 8-bit networks, row by row. Generated networks (model.c) are tables of what is declared here.
 *
 * C99, no dependency, no heap, no globals, no floating point. Rows are (W, C) bytes. Arithmetic is LiteRT's for int8
 * (Jacob et al., 2018, section 2.2): 32-bit sums, a 31-bit multiplier and a shift, the same on every path:
 * plain C, SSE2, Arm's DSP instructions (Cortex-M4, M7) and Helium (Cortex-M55), chosen by the compiler's macros.
 */
#ifndef MCU_KERNELS_H
#define MCU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define MCU_MAX_STEPS 96  /* of one stage */
#define MCU_MAX_KERNEL 32 /* rows that one row is made of */
#define MCU_OUTPUT UINT32_MAX

enum {
    MCU_KEPT, /* a whole tensor of an earlier stage */
    MCU_READ, /* the input, a row at a time */
    MCU_CONV,
    MCU_POINTWISE,
    MCU_DEPTHWISE,
    MCU_ADD,
    MCU_MULTIPLY,
    MCU_MAXIMUM,
    MCU_AVERAGE,
    MCU_MEAN, /* over the whole image */
    MCU_TABLE /* any function of one byte */
};

/* Copies rows y .. y+h and columns x .. x+w of the input to dst, (h, w, C). */
typedef void (*mcu_read_fn)(void *ctx, int y, int x, int h, int w, int8_t *dst);

typedef struct {
    uint8_t kind, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
    int8_t in_zero, other_zero, out_zero, low, high;
    uint16_t in_h, in_w, in_c, out_h, out_w, out_c;
    const int8_t *weight;
    const int32_t *bias;       /* of MCU_CONV and MCU_POINTWISE with the input's zero point in it */
    const int32_t *multiplier; /* one a channel; MCU_ADD: of its sides and of its answer; others: one */
    const int8_t *shift;
} mcu_layer;

/* A layer inside a stage, and where its rows lie: row y at offset + (y % rows) * row_bytes of the arena. */
typedef struct {
    uint16_t layer;
    uint8_t kind;
    uint8_t whole;     /* rows hold the tensor's whole width, not a tile's */
    int8_t input[2];   /* steps that it reads, or -1 */
    uint16_t rows;
    uint32_t row_bytes;
    uint32_t offset;   /* or MCU_OUTPUT */
    uint32_t scratch;  /* offset of what the kernel needs for itself */
} mcu_step;

/* Rows and columns of a step that one tile makes; ends are exclusive. */
typedef struct {
    uint16_t y0, y1, x0, x1;
} mcu_span;

typedef struct {
    uint32_t from, to, bytes;
} mcu_move;

/* Steps that run together, row after row: each as soon as the rows that it reads are there, the last one first. */
typedef struct {
    const mcu_step *steps;
    const mcu_span *spans; /* of the first tile's steps, then of the next tile's */
    const mcu_move *moves; /* of what is kept, before the stage starts */
    uint8_t step_count, tile_count, move_count;
} mcu_stage;

/* With -DMCU_CLOCK=f, a function of yours that reads a clock (a cycle counter, say), each call adds what every layer
 * took to mcu_ticks; model.c has the names and how many there are. */
#ifdef MCU_CLOCK
uint64_t MCU_CLOCK(void);
extern uint64_t mcu_ticks[];
extern const char *const mcu_names[];
extern const int mcu_layers;
#endif

void mcu_run(const mcu_layer *layers, const mcu_stage *stages, int stage_count, int8_t *arena, mcu_read_fn read,
             void *ctx, int8_t *output);

#endif
