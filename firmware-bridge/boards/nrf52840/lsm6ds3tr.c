/* NOT RUN ON HARDWARE: written from the data sheet of the LSM6DS3TR-C (ST DocID030071). */
#include "lsm6ds3tr.h"

#include "sdk.h"
#include "talaria.h"

#define DRDY_PULSE_CFG 0x0Bu
#define INT1_CTRL 0x0Du
#define WHO_AM_I 0x0Fu
#define CTRL1_XL 0x10u
#define CTRL2_G 0x11u
#define CTRL3_C 0x12u
#define OUTX_L_G 0x22u /* gyr x, y, z, then acc x, y, z */

#define IS_LSM6DS3TR_C 0x6Au
#define PULSED 0x80u
#define INT1_GYR_READY 0x02u
#define WHOLE_SAMPLES_AND_STEP 0x44u /* BDU: never half old, half new; IF_INC: read on */
#define ACC_16_G 0x04u
#define GYR_2000_DPS 0x0Cu

TALARIA_CLAIM(widest_product_fits, 32768ll * 1792 + 1562 < INT32_MAX);

static const struct {
    uint32_t rate_millihz;
    uint8_t code; /* upper half of CTRL1_XL and CTRL2_G */
} rates[] = {{12500, 0x10}, {26000, 0x20}, {52000, 0x30}, {104000, 0x40}, {208000, 0x50}, {416000, 0x60}};

static uint8_t code_of(uint32_t rate_millihz)
{
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        if (rates[i].rate_millihz == rate_millihz) {
            return rates[i].code;
        }
    }
    return 0; /* asleep */
}

bool lsm6_start(void)
{
    uint8_t who = 0;
    return sdk_imu_read(WHO_AM_I, &who, 1) && who == IS_LSM6DS3TR_C &&
           sdk_imu_write(CTRL3_C, WHOLE_SAMPLES_AND_STEP) &&
           sdk_imu_write(DRDY_PULSE_CFG, PULSED) && sdk_imu_write(INT1_CTRL, INT1_GYR_READY) &&
           lsm6_run(0);
}

bool lsm6_is_rate(uint32_t rate_millihz)
{
    return code_of(rate_millihz) != 0;
}

bool lsm6_run(uint32_t rate_millihz)
{
    const uint8_t code = code_of(rate_millihz);
    return sdk_imu_write(CTRL1_XL, code | ACC_16_G) && sdk_imu_write(CTRL2_G, code | GYR_2000_DPS);
}

static int16_t count_at(const uint8_t *bytes)
{
    return (int16_t)(uint16_t)(bytes[0] | bytes[1] << 8);
}

/* 70 m deg/s per count is 2293.76 deg/s at full scale: times 2293.76 / 4000 = 1792 / 3125 for scale 4. */
static int16_t rescaled(int16_t raw)
{
    const int32_t product = (int32_t)raw * 1792;
    return (int16_t)((product + (product < 0 ? -1562 : 1562)) / 3125);
}

static bool is_end(int16_t raw)
{
    return raw == INT16_MAX || raw == INT16_MIN;
}

bool lsm6_read(int16_t counts[6], uint8_t *flags)
{
    uint8_t bytes[12];
    if (!sdk_imu_read(OUTX_L_G, bytes, sizeof bytes)) {
        return false;
    }
    *flags = 0;
    for (size_t axis = 0; axis < 3; axis++) {
        const int16_t gyr = count_at(bytes + 2 * axis);
        counts[axis] = count_at(bytes + 6 + 2 * axis); /* 0.488 mg: 16 g / 32768 as printed there */
        counts[3 + axis] = rescaled(gyr);
        /* The end of the chip's range is in the midst of scale 4, so only we can see it. */
        *flags |= is_end(gyr) ? TALARIA_GYR_CLIP : 0;
    }
    return true;
}
