/* Of emulated boards: the vector table, memory as C expects it, and four calls to the emulator by semihosting. */
#include "board.h"

#include <string.h>

#define CPACR (*(volatile uint32_t *)0xe000ed88u)

extern uint32_t stack_top[], data_start[], data_end[], data_image[], bss_start[], bss_end[];

int main(void);
void reset(void);

static void fault(void)
{
    board_print("fault\n");
    board_exit(3);
}

typedef void (*vector)(void);
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    vector handlers[15];
} vectors = {stack_top, {reset, fault, fault, fault, fault, fault, fault}};

void reset(void)
{
    CPACR |= 0xfu << 20; /* coprocessors 10 and 11: floating point and Helium */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    memcpy(data_start, data_image, (size_t)((char *)data_end - (char *)data_start));
    memset(bss_start, 0, (size_t)((char *)bss_end - (char *)bss_start));
    board_exit(main());
}

static void semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void board_print(const char *text)
{
    semihosting(0x04, text);
}

void board_exit(int code)
{
    const uint32_t why[2] = {0x20026, (uint32_t)code}; /* "the application exited" */
    semihosting(0x20, why);
    for (;;)
        ;
}

/* 32-bit counters that nothing interrupts: SysTick's 24 bits would wrap within one inference. */
#if defined(BOARD_MPS3)
#define COUNTER ((volatile uint32_t *)0x58100000u) /* the SSE-300's system counter */
void board_start_clock(void)
{
    COUNTER[0] = 1;
}

uint32_t board_ticks(void)
{
    return COUNTER[2];
}
#else
#define TIMER ((volatile uint32_t *)0x40000000u) /* CMSDK timer 0: counts down from what it is given */
void board_start_clock(void)
{
    TIMER[2] = UINT32_MAX;
    TIMER[1] = UINT32_MAX;
    TIMER[0] = 1;
}

uint32_t board_ticks(void)
{
    return UINT32_MAX - TIMER[1];
}
#endif
