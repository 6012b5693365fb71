/* Four sensors on a person who stands for five seconds and then walks, in whole numbers only. */
#ifndef WALKER_H
#define WALKER_H

#include <stdint.h>

typedef struct {
    uint32_t standing_us; /* how long yet */
    uint32_t ramp_us;     /* how far into the first second of walking */
    uint32_t phase_us;    /* of the right leg's cycle */
    uint32_t noise;
} walker;

/* Begin anew, standing. */
void walker_start(walker *person);

/* Let time pass. */
void walker_advance(walker *person, uint32_t us);

/* What the sensor in `slot` (2, 3: thighs; 6, 7: feet; odd is left) reads now: acc x, y, z at 16 g
 * and gyr x, y, z at 2000 deg/s full scale. x is forward, y up, z to the right. */
void walker_read(walker *person, uint8_t slot, int16_t counts[6]);

#endif
