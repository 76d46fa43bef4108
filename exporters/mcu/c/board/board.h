/* What an emulated board offers to the harness. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void board_print(const char *text);
void board_exit(int code) __attribute__((noreturn));
void board_start_clock(void);
uint32_t board_ticks(void);

#endif
