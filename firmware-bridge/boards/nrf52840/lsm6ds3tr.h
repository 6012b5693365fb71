/* ST LSM6DS3TR-C: six axes, one data-ready line. Written from its data sheet, NOT RUN ON HARDWARE. */
#ifndef LSM6DS3TR_H
#define LSM6DS3TR_H

#include <stdbool.h>
#include <stdint.h>

/* Scales its counts are rescaled to (wire-format.md, section 9). */
#define LSM6_ACC_SCALE 3u
#define LSM6_GYR_SCALE 4u

/* +-16 g, 2000 deg/s, data-ready on INT1, asleep. False if it is not there. */
bool lsm6_start(void);

/* One of its rates: 12.5, 26, 52, 104, 208 or 416 Hz. */
bool lsm6_is_rate(uint32_t rate_millihz);

/* Sample at that rate; 0 puts it to sleep. False if it does not answer. */
bool lsm6_run(uint32_t rate_millihz);

/* Read one sample in the wire's scales, and what was at the end of its range (TALARIA_*_CLIP). */
bool lsm6_read(int16_t counts[6], uint8_t *flags);

#endif
