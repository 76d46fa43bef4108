#ifndef MCU_ROWS_MVE_H
#define MCU_ROWS_MVE_H
#include "rows_plain.h"
#endif
