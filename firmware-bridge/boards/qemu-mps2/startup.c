/* From reset to main, without a C library. */
#include <stddef.h>
#include <stdint.h>

extern uint32_t data_load, data_start, data_end, bss_start, bss_end, stack_top;
int main(void);
void uart_rx_interrupt(void);
void uart_tx_interrupt(void);
void ticker_interrupt(void);

/* The compiler may call these two for copies and clears that it makes of our loops and structs. */
void *memcpy(void *to, const void *from, size_t length)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    while (length-- > 0) {
        *out++ = *in++;
    }
    return to;
}

void *memset(void *to, int value, size_t length)
{
    uint8_t *out = to;
    while (length-- > 0) {
        *out++ = (uint8_t)value;
    }
    return to;
}

void reset(void)
{
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &bss_start; to < &bss_end;) {
        *to++ = 0;
    }
    main();
}

static void fault(void)
{
    for (;;) {
    }
}

typedef union {
    void (*handler)(void);
    uint32_t *stack;
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16 + 10] = {
    [0] = {.stack = &stack_top},
    [1] = {.handler = reset},
    [2] = {.handler = fault},
    [3] = {.handler = fault},
    [4] = {.handler = fault},
    [5] = {.handler = fault},
    [6] = {.handler = fault},
    [11] = {.handler = fault},
    [12] = {.handler = fault},
    [14] = {.handler = fault},
    [15] = {.handler = fault},
    [16 + 0] = {.handler = uart_rx_interrupt},
    [16 + 1] = {.handler = uart_tx_interrupt},
    [16 + 9] = {.handler = ticker_interrupt},
};
