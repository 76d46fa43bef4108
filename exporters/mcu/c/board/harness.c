/* Runs the golden input once on an emulated board and prints what it took, a name and a number a line. */
#include <stdio.h>

#include "board.h"

/* For its input and its answer alone: this file has its own way to run them. */
#define main golden_main
#define printf(...) ((void)0)
#include "golden_test.c"
#undef printf
#undef main

#define PAINT 0xc5a3965bu
#define KNOWN_LOOPS 1000000u /* of two instructions each */

extern uint32_t stack_limit[];

static void print_number(const char *name, uint32_t value)
{
    char digits[12], *at = digits + sizeof digits;
    *--at = '\0';
    *--at = '\n';
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    board_print(name);
    board_print(" ");
    board_print(at);
}

static uint32_t known_ticks(void)
{
    uint32_t loops = KNOWN_LOOPS;
    const uint32_t start = board_ticks();
    __asm__ volatile(".balign 4\n1: subs %0, #1\n\tbne 1b" : "+l"(loops)::"cc");
    return board_ticks() - start;
}

/* The lowest word that `model_invoke_image` wrote, counted from the stack pointer before the call. */
static __attribute__((noinline)) uint32_t measured_run(int8_t *output, int *error, uint32_t *ticks)
{
    uint32_t *top;
    __asm__ volatile("mov %0, sp" : "=r"(top)::"memory");
    for (volatile uint32_t *word = stack_limit; word < top; word++)
        *word = PAINT;
    const uint32_t start = board_ticks();
#ifdef MODEL_ARENA_DYNAMIC
    *error = model_invoke_image(golden_input, output, golden_arena.bytes);
#else
    *error = model_invoke_image(golden_input, output);
#endif
    *ticks = board_ticks() - start;
    const volatile uint32_t *word = stack_limit;
    while (word < top && *word == PAINT)
        word++;
    return (uint32_t)((uintptr_t)top - (uintptr_t)word);
}

int main(void)
{
    static int8_t output[MODEL_OUTPUT_N];
    uint32_t ticks, wrong = 0;
    int error;
    board_start_clock();
    print_number("known_ticks", known_ticks());
    print_number("stack", measured_run(output, &error, &ticks));
    print_number("ticks", ticks);
    if (error != MODEL_OK)
        return 2;
    for (int i = 0; i < MODEL_OUTPUT_N; i++)
        wrong += output[i] != golden_output[i];
    print_number("wrong", wrong);
    board_print(wrong == 0 ? "OK\n" : "DIFFERS\n");
    return wrong != 0;
}
