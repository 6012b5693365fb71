/* Drivers: CMSDK UART and timers (ARM DDI 0479), FPGA LEDs (AN386). The core and the peripherals run at 25 MHz. */
#include "mps2.h"

#define REG(address) (*(volatile uint32_t *)(address))

#define TICKS_PER_US 25u
#define BAUD 921600u
#define UART_RX_IRQ 0u
#define UART_TX_IRQ 1u
#define TICKER_IRQ 9u

#define TIMER0 0x40000000u /* the clock */
#define TIMER1 0x40001000u /* the ticker */
#define TIMER_CTRL 0x00u
#define TIMER_VALUE 0x04u
#define TIMER_RELOAD 0x08u
#define TIMER_INTCLEAR 0x0Cu

#define UART0 0x40004000u
#define UART_DATA 0x00u
#define UART_STATE 0x04u
#define UART_CTRL 0x08u
#define UART_INTCLEAR 0x0Cu
#define UART_BAUDDIV 0x10u

#define LEDS 0x40028000u

/* Microseconds at start; a test sets it close to 2^32, where the clock wraps. */
#ifndef CLOCK_START_US
#define CLOCK_START_US 0u
#endif

/* ---- clock: 25 MHz ticks, counted down and wrapping after 172 s, to microseconds ---------- */

static uint32_t clock_now_us = CLOCK_START_US;
static uint32_t clock_seen;
static uint32_t clock_rest;

void clock_start(void)
{
    REG(TIMER0 + TIMER_RELOAD) = UINT32_MAX;
    REG(TIMER0 + TIMER_VALUE) = UINT32_MAX;
    clock_seen = UINT32_MAX;
    REG(TIMER0 + TIMER_CTRL) = 1;
}

/* Must be called once in 172 s or more often; the ticker sees to that. */
uint32_t clock_us(void)
{
    const uint32_t lock = irq_lock();
    const uint32_t value = REG(TIMER0 + TIMER_VALUE);
    const uint32_t passed = clock_seen - value;
    const uint32_t rest = clock_rest + passed % TICKS_PER_US;
    clock_seen = value;
    clock_now_us += passed / TICKS_PER_US + rest / TICKS_PER_US;
    clock_rest = rest % TICKS_PER_US;
    const uint32_t now = clock_now_us;
    irq_unlock(lock);
    return now;
}

/* ---- ticker ------------------------------------------------------------------------------- */

static void (*ticker_handler)(void);

void ticker_start(uint32_t period_us, void (*handler)(void))
{
    ticker_handler = handler;
    ticker_set_period(period_us);
    REG(TIMER1 + TIMER_CTRL) = 1u | 1u << 3; /* run, interrupt */
    irq_enable(TICKER_IRQ);
}

void ticker_set_period(uint32_t period_us)
{
    REG(TIMER1 + TIMER_RELOAD) = period_us * TICKS_PER_US - 1;
    REG(TIMER1 + TIMER_VALUE) = period_us * TICKS_PER_US - 1;
}

void ticker_interrupt(void)
{
    REG(TIMER1 + TIMER_INTCLEAR) = 1;
    ticker_handler();
}

/* ---- UART: main loop and interrupt at the two ends of a queue each way -------------------- */

#define QUEUE 1024u /* a power of two */

typedef struct {
    uint8_t bytes[QUEUE];
    volatile uint32_t head;
    volatile uint32_t tail;
} queue;

static queue sending, receiving;

static bool queue_put(queue *to, uint8_t byte)
{
    if (to->head - to->tail == QUEUE) {
        return false;
    }
    to->bytes[to->head % QUEUE] = byte;
    __sync_synchronize();
    to->head = to->head + 1;
    return true;
}

static bool queue_take(queue *from, uint8_t *byte)
{
    if (from->head == from->tail) {
        return false;
    }
    *byte = from->bytes[from->tail % QUEUE];
    __sync_synchronize();
    from->tail = from->tail + 1;
    return true;
}

void uart_start(void)
{
    REG(UART0 + UART_BAUDDIV) = TICKS_PER_US * 1000000u / BAUD;
    REG(UART0 + UART_CTRL) = 0xFu; /* send and receive, and interrupt for both */
    irq_enable(UART_RX_IRQ);
    irq_enable(UART_TX_IRQ);
}

void uart_rx_interrupt(void)
{
    REG(UART0 + UART_INTCLEAR) = 2;
    while ((REG(UART0 + UART_STATE) & 2) != 0) {
        queue_put(&receiving, (uint8_t)REG(UART0 + UART_DATA)); /* no room: lost, the CRC tells */
    }
}

void uart_tx_interrupt(void)
{
    uint8_t byte = 0;
    REG(UART0 + UART_INTCLEAR) = 1;
    while ((REG(UART0 + UART_STATE) & 1) == 0 && queue_take(&sending, &byte)) {
        REG(UART0 + UART_DATA) = byte;
    }
}

size_t uart_write(const uint8_t *bytes, size_t length)
{
    size_t n = 0;
    while (n < length && queue_put(&sending, bytes[n])) {
        n++;
    }
    irq_pend(UART_TX_IRQ); /* the interrupt alone takes from the queue */
    return n;
}

size_t uart_read(uint8_t *bytes, size_t size)
{
    size_t n = 0;
    while (n < size && queue_take(&receiving, &bytes[n])) {
        n++;
    }
    return n;
}

void leds_set(uint32_t mask)
{
    REG(LEDS) = mask;
}
