/* Talaria on an nRF52840 with an LSM6DS3TR-C (such as Seeed's XIAO nRF52840 Sense), over the Nordic
 * UART Service. NOT RUN ON HARDWARE: compiled, not more. */
#include "lsm6ds3tr.h"
#include "sdk.h"
#include "talaria.h"

/* Where on the body this one sits: build with -DSLOT=3 for the left thigh (wire-format.md, section 8). */
#ifndef SLOT
#define SLOT 2
#endif
#define FIRST_RATE_MILLIHZ 104000u
#define CAPACITY 128u /* 1.2 s at 104 Hz: the longest the radio may be away */
#define LOW_PERCENT 10u

static talaria_sample storage[CAPACITY];
static talaria_device device;
static uint32_t rate_millihz = FIRST_RATE_MILLIHZ;
static volatile bool is_low;
static volatile bool has_failed;

static void on_data_ready(uint32_t device_us)
{
    int16_t counts[6];
    uint8_t flags = 0;
    if (!lsm6_read(counts, &flags)) {
        has_failed = true;
        return;
    }
    flags |= is_low ? TALARIA_LOW_BATTERY : 0;
    talaria_push(&device, SLOT, device_us, counts, flags);
}

static uint32_t board_now_us(void *context)
{
    (void)context;
    return sdk_timer_us();
}

/* A notification carries as much of the stream as fits; where it is cut means nothing. */
static size_t board_write(void *context, const uint8_t *bytes, size_t length)
{
    (void)context;
    const size_t room = sdk_nus_room();
    const size_t n = length < room ? length : room;
    return n > 0 && sdk_nus_notify(bytes, n) ? n : 0;
}

static size_t board_read(void *context, uint8_t *bytes, size_t size)
{
    (void)context;
    return sdk_nus_read(bytes, size);
}

static bool board_set_rate(void *context, uint32_t wanted_millihz)
{
    (void)context;
    if (!lsm6_is_rate(wanted_millihz) || (device.streaming && !lsm6_run(wanted_millihz))) {
        return false;
    }
    rate_millihz = wanted_millihz;
    return true;
}

static void board_set_streaming(void *context, bool on)
{
    (void)context;
    has_failed = !lsm6_run(on ? rate_millihz : 0);
}

static void board_identify(void *context, uint8_t seconds)
{
    (void)context;
    sdk_blink(seconds);
}

static void look_after(void)
{
    const uint8_t percent = sdk_battery_percent();
    is_low = percent < LOW_PERCENT;
    talaria_set_battery(&device, percent);
    talaria_set_failed(&device, has_failed);
    if (sdk_nus_was_lost()) {
        talaria_link_lost(&device);
    }
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
        .device_id = sdk_device_id(),
        .name = "nrf52840",
        .rate_millihz = FIRST_RATE_MILLIHZ,
        .slot_mask = 1u << SLOT,
        .acc_scale = LSM6_ACC_SCALE,
        .gyr_scale = LSM6_GYR_SCALE,
        .samples_per_frame = 2, /* one radio event each 20 ms is half of the power of each 10 ms */
        .storage = storage,
        .capacity = CAPACITY,
    };
    if (!talaria_init(&device, &config)) {
        return 1;
    }
    has_failed = !lsm6_start();
    sdk_on_data_ready(on_data_ready);
    for (;;) {
        look_after();
        talaria_poll(&device);
        sdk_sleep();
    }
}
