/* The walk: the thigh swings like a pendulum; the foot lies flat for 5/8 of the cycle, then goes
 * 0.8 m forward while its heel rises and falls. Both are exact derivatives of smooth curves, so that
 * rates and accelerations belong to one motion; the pelvis is taken to glide evenly. */
#include "walker.h"

#define CYCLE_US 0x100000u /* 2^20: 0.95 strides a second, and a phase is a shift */
#define SWING_FROM_US (CYCLE_US / 8 * 5)
#define SWING_US (CYCLE_US - SWING_FROM_US) /* 0.393 s */
#define FIRST_PHASE_US (CYCLE_US / 16 * 9)  /* both feet are on the ground then */
#define STAND_US 5000000u
#define RAMP_US 0x100000u

#define ONE 32768 /* 1.0 */
#define G 2048    /* counts */

/* An angle is in 1/65536 turn. 125 deg/s in 0.95 Hz is 20.86 deg. */
#define THIGH_ANGLE 3798
#define THIGH_RATE 2048
#define THIGH_RATE_PER_S 342 /* 20.86 deg/s in counts: the angle times the growth of the ramp */

/* 200 deg/s over 2 pi / 0.393 s is 12.5 deg; 0.8 m in 0.393 s takes a peak of 3.31 g. */
#define FOOT_ANGLE 2279
#define FOOT_RATE 3277
#define FOOT_PUSH 6785

/* sin of a quarter turn in 64 steps, times 32767. */
static const int16_t quarter[65] = {
    0,     804,   1608,  2410,  3212,  4011,  4808,  5602,  6393,  7179,  7962,  8739,  9512,
    10278, 11039, 11793, 12539, 13279, 14010, 14732, 15446, 16151, 16846, 17530, 18204, 18868,
    19519, 20159, 20787, 21403, 22005, 22594, 23170, 23731, 24279, 24811, 25329, 25832, 26319,
    26790, 27245, 27683, 28105, 28510, 28898, 29268, 29621, 29956, 30273, 30571, 30852, 31113,
    31356, 31580, 31785, 31971, 32137, 32285, 32412, 32521, 32609, 32678, 32728, 32757, 32767};

static int32_t sine(uint32_t angle)
{
    const uint32_t part = angle & 0x3FFFu;
    const uint32_t along = (angle & 0x4000u) != 0 ? 0x4000u - part : part;
    const uint32_t step = along >> 8;
    const int32_t from = quarter[step];
    const int32_t to = quarter[step < 64 ? step + 1 : 64];
    const int32_t value = from + (to - from) * (int32_t)(along & 0xFFu) / 256;
    return (angle & 0x8000u) != 0 ? -value : value;
}

static int32_t cosine(uint32_t angle)
{
    return sine(angle + 0x4000u);
}

static int32_t times(int32_t a, int32_t b)
{
    const int64_t product = (int64_t)a * b;
    return (int32_t)((product + (product < 0 ? -ONE / 2 : ONE / 2)) / ONE);
}

/* How far walking has come up, 0 to ONE, and its growth in one second: a smooth step. */
static int32_t ramp(const walker *person, int32_t *growth)
{
    const int32_t x = (int32_t)(person->ramp_us / (RAMP_US / ONE));
    *growth = times(6 * x, ONE - x);
    return times(times(x, x), 3 * ONE - 2 * x);
}

/* A level specific force, `forward` counts ahead and 1 g up, in a sensor pitched up by `angle`. */
static void tilt(int32_t angle, int32_t forward, int32_t acc[2])
{
    const int32_t s = sine((uint32_t)angle);
    const int32_t c = cosine((uint32_t)angle);
    acc[0] = times(forward, c) + times(G, s);
    acc[1] = times(G, c) - times(forward, s);
}

static int32_t thigh(const walker *person, uint32_t phase_us, int32_t acc[2])
{
    /* Fastest forward in the middle of the swing of its foot. */
    const uint32_t angle = (phase_us - SWING_FROM_US - SWING_US / 2) >> 4;
    int32_t growth = 0;
    const int32_t size = ramp(person, &growth);
    tilt(times(times(THIGH_ANGLE, size), sine(angle)), 0, acc);
    return times(times(THIGH_RATE, size), cosine(angle)) +
           times(times(THIGH_RATE_PER_S, growth), sine(angle));
}

static int32_t foot(uint32_t phase_us, int32_t acc[2])
{
    if (phase_us < SWING_FROM_US) {
        tilt(0, 0, acc);
        return 0;
    }
    const uint32_t angle = (phase_us - SWING_FROM_US) / (SWING_US >> 16);
    const int32_t pitch = (cosine(angle) - ONE) - (cosine(2 * angle) - ONE) / 4;
    tilt(times(FOOT_ANGLE, pitch), times(FOOT_PUSH, sine(angle)), acc);
    return times(FOOT_RATE, sine(2 * angle) / 2 - sine(angle));
}

void walker_start(walker *person)
{
    person->standing_us = STAND_US;
    person->ramp_us = 0;
    person->phase_us = FIRST_PHASE_US;
    person->noise = 1;
}

void walker_advance(walker *person, uint32_t us)
{
    if (person->standing_us > us) {
        person->standing_us -= us;
        return;
    }
    us -= person->standing_us;
    person->standing_us = 0;
    person->phase_us = (person->phase_us + us) % CYCLE_US;
    person->ramp_us = person->ramp_us + us < RAMP_US ? person->ramp_us + us : RAMP_US;
}

/* -3 to 3 counts: a real sensor is never still, and one that is counts as stuck. */
static int32_t noise(walker *person)
{
    person->noise = person->noise * 1664525u + 1013904223u;
    return (int32_t)((person->noise >> 16) % 7) - 3;
}

void walker_read(walker *person, uint8_t slot, int16_t counts[6])
{
    const uint32_t phase_us = (person->phase_us + (slot & 1u) * (CYCLE_US / 2)) % CYCLE_US;
    int32_t acc[2];
    const int32_t gyr = slot < 4 ? thigh(person, phase_us, acc) : foot(phase_us, acc);
    const int32_t clean[6] = {acc[0], acc[1], 0, 0, 0, gyr};
    for (int axis = 0; axis < 6; axis++) {
        counts[axis] = (int16_t)(clean[axis] + noise(person));
    }
}
