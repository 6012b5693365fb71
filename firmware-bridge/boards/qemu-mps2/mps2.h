/* The parts of ARM's MPS2 board (application note AN386, Cortex-M4) that this firmware uses. */
#ifndef MPS2_H
#define MPS2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One free-running timer. */
void clock_start(void);
uint32_t clock_us(void);

/* UART0, buffered both ways, without waiting. */
void uart_start(void);
size_t uart_write(const uint8_t *bytes, size_t length);
size_t uart_read(uint8_t *bytes, size_t size);

/* An interrupt every so many microseconds. */
void ticker_start(uint32_t period_us, void (*handler)(void));
void ticker_set_period(uint32_t period_us);

void leds_set(uint32_t mask);

/* Keep interrupts out for a moment; what it returns goes to irq_unlock. */
static inline uint32_t irq_lock(void)
{
    uint32_t before;
    __asm volatile("mrs %0, primask\n cpsid i" : "=r"(before)::"memory");
    return before;
}

static inline void irq_unlock(uint32_t before)
{
    __asm volatile("msr primask, %0" ::"r"(before) : "memory");
}

static inline void irq_enable(uint32_t number)
{
    *(volatile uint32_t *)0xE000E100u = 1u << number; /* NVIC_ISER0 */
}

static inline void irq_pend(uint32_t number)
{
    *(volatile uint32_t *)0xE000E200u = 1u << number; /* NVIC_ISPR0 */
}

#endif
