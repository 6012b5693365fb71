/* What this board needs from its vendor's SDK (nRF5 SDK with a SoftDevice, nRF Connect SDK with Zephyr,
 * Arduino core, ...). NOT RUN ON HARDWARE: these are declarations to fill in, a few lines each; no
 * register of the nRF52840 is touched anywhere else. */
#ifndef SDK_H
#define SDK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A 32-bit timer at 1 MHz that is never stopped, captured now. */
uint32_t sdk_timer_us(void);

/* The chip's own number (FICR DEVICEID). */
uint64_t sdk_device_id(void);

/* Send one notification of up to `length` bytes on the Nordic UART Service's TX characteristic. False
 * if no central is subscribed or all buffers are taken: it is tried again later. */
bool sdk_nus_notify(const uint8_t *bytes, size_t length);

/* Bytes one notification may hold: the negotiated ATT MTU less 3. */
size_t sdk_nus_room(void);

/* Bytes written to the NUS RX characteristic since the last call; the SDK's write handler queues them. */
size_t sdk_nus_read(uint8_t *bytes, size_t size);

/* True once after a disconnection. */
bool sdk_nus_was_lost(void);

/* The sensor's bus, I2C or SPI; false if it does not answer. The data-ready interrupt and the main loop both
 * call these, so the one must wait for the other. */
bool sdk_imu_write(uint8_t reg, uint8_t value);
bool sdk_imu_read(uint8_t reg, uint8_t *bytes, size_t length);

/* Call `handler` with the time of each rising edge of the sensor's INT1 pin: a GPIOTE event that
 * captures the 1 MHz timer through PPI costs no jitter. */
void sdk_on_data_ready(void (*handler)(uint32_t device_us));

/* Turn the LED on for so many seconds; 0 turns it off. */
void sdk_blink(uint8_t seconds);

/* Battery charge in percent; 255 if there is no way to tell. */
uint8_t sdk_battery_percent(void);

/* Sleep until the next interrupt or radio event. */
void sdk_sleep(void);

#endif
