/* Talaria on ARM's MPS2 board as qemu emulates it: four synthetic sensors, one UART. */
#include "mps2.h"
#include "talaria.h"
#include "walker.h"

#define FIRST_RATE_MILLIHZ 100000u
#define SLOT_COUNT 4u
#define CAPACITY 64u

static const uint8_t slots[SLOT_COUNT] = {2, 3, 6, 7};
static talaria_sample storage[SLOT_COUNT * CAPACITY];
static talaria_device device;
static walker person;
static uint32_t period_us;
static uint32_t next_us; /* when the sensors are read next */
static volatile uint32_t events;
static volatile uint32_t lit_until_us;

/* Interrupt: a late one reads what is due in one go, as from the queue in a sensor's chip. */
static void read_sensors(void)
{
    int16_t counts[6];
    const uint32_t now = clock_us();
    while ((int32_t)(now - next_us) >= 0) {
        walker_advance(&person, period_us);
        for (uint32_t i = 0; i < SLOT_COUNT; i++) {
            walker_read(&person, slots[i], counts);
            talaria_push(&device, slots[i], next_us, counts, 0);
        }
        next_us += period_us;
    }
    if ((int32_t)(now - lit_until_us) >= 0) {
        leds_set(0);
    }
    events = events + 1;
}

static uint32_t board_now_us(void *context)
{
    (void)context;
    return clock_us();
}

static size_t board_write(void *context, const uint8_t *bytes, size_t length)
{
    (void)context;
    return uart_write(bytes, length);
}

static size_t board_read(void *context, uint8_t *bytes, size_t size)
{
    (void)context;
    return uart_read(bytes, size);
}

/* 10 to 400 Hz, where the period is a whole number of microseconds. */
static bool board_set_rate(void *context, uint32_t rate_millihz)
{
    (void)context;
    if (rate_millihz < 10000 || rate_millihz > 400000 || 1000000000u % rate_millihz != 0) {
        return false;
    }
    const uint32_t lock = irq_lock();
    period_us = 1000000000u / rate_millihz;
    next_us = clock_us() + period_us;
    ticker_set_period(period_us);
    irq_unlock(lock);
    return true;
}

/* The sensors always run, and the library takes no sample while it is stopped. */
static void board_set_streaming(void *context, bool on)
{
    (void)context;
    const uint32_t lock = irq_lock();
    if (on) {
        walker_start(&person);
    }
    irq_unlock(lock);
}

static void board_identify(void *context, uint8_t seconds)
{
    (void)context;
    lit_until_us = clock_us() + seconds * 1000000u;
    leds_set(seconds > 0 ? 3 : 0);
}

/* Sleep, unless an interrupt came since `seen`; one that comes now still ends the sleep. */
static void sleep_since(uint32_t seen)
{
    const uint32_t lock = irq_lock();
    if (events == seen) {
        __asm volatile("wfi");
    }
    irq_unlock(lock);
}

int main(void)
{
    const talaria_config config = {
        .board = {.now_us = board_now_us,
                  .write = board_write,
                  .read = board_read,
                  .set_rate = board_set_rate,
                  .set_streaming = board_set_streaming,
                  .identify = board_identify},
        .device_id = 0x54414C5155454D55u,
        .name = "qemu legs",
        .rate_millihz = FIRST_RATE_MILLIHZ,
        .slot_mask = 1u << 2 | 1u << 3 | 1u << 6 | 1u << 7,
        .acc_scale = 3,
        .gyr_scale = 3,
        .samples_per_frame = 1,
        .storage = storage,
        .capacity = CAPACITY,
    };
    clock_start();
    uart_start();
    walker_start(&person);
    if (!talaria_init(&device, &config)) {
        for (;;) {
        }
    }
    period_us = 1000000000u / FIRST_RATE_MILLIHZ;
    next_us = clock_us() + period_us;
    ticker_start(period_us, read_sensors);
    for (;;) {
        const uint32_t seen = events;
        talaria_poll(&device);
        sleep_since(seen);
    }
}
