/* Messages to bytes: CRC-32, COBS and the six messages a device sends. */
#include "talaria.h"

#define CRC_BYTES 4u

TALARIA_CLAIM(longest_data_is_the_longest_body,
              19u + 12u * TALARIA_MAX_SAMPLES + CRC_BYTES <= TALARIA_MAX_BODY);
TALARIA_CLAIM(hello_fits, 22u + TALARIA_MAX_NAME + CRC_BYTES <= TALARIA_MAX_BODY);
TALARIA_CLAIM(cobs_never_needs_its_long_run, TALARIA_MAX_BODY < 254u);
TALARIA_CLAIM(counts_are_packed, sizeof(int16_t[6]) == 12);

uint32_t talaria_crc32(const uint8_t *bytes, size_t length)
{
    /* Half a byte at a time: 64 bytes of table instead of 1024. */
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    uint32_t rest = 0xFFFFFFFFu;
    for (size_t i = 0; i < length; i++) {
        rest ^= bytes[i];
        rest = (rest >> 4) ^ table[rest & 15u];
        rest = (rest >> 4) ^ table[rest & 15u];
    }
    return ~rest;
}

static uint8_t *put8(uint8_t *to, uint8_t value)
{
    *to = value;
    return to + 1;
}

static uint8_t *put16(uint8_t *to, uint16_t value)
{
    return put8(put8(to, (uint8_t)(value & 0xFFu)), (uint8_t)(value >> 8));
}

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    return put16(put16(to, (uint16_t)(value & 0xFFFFu)), (uint16_t)(value >> 16));
}

static uint8_t *put64(uint8_t *to, uint64_t value)
{
    return put32(put32(to, (uint32_t)(value & 0xFFFFFFFFu)), (uint32_t)(value >> 32));
}

/* COBS of the body in frame[1 .. length], in place: each zero becomes the distance to the next. */
static void stuff(uint8_t *frame, size_t length)
{
    size_t code = 0;
    for (size_t i = 1; i <= length; i++) {
        if (frame[i] == 0) {
            frame[code] = (uint8_t)(i - code);
            code = i;
        }
    }
    frame[code] = (uint8_t)(length + 1 - code);
    frame[length + 1] = 0;
}

static bool fits(size_t size, size_t length)
{
    return length + CRC_BYTES <= TALARIA_MAX_BODY && length + CRC_BYTES + 2 <= size;
}

size_t talaria_seal(uint8_t *frame, size_t size, size_t length)
{
    if (length < 2 || !fits(size, length)) {
        return 0;
    }
    put32(frame + 1 + length, talaria_crc32(frame + 1, length));
    stuff(frame, length + CRC_BYTES);
    return length + CRC_BYTES + 2;
}

static uint8_t *begin(uint8_t *frame, uint8_t type)
{
    return put8(put8(frame + 1, type), TALARIA_VERSION);
}

/* Length of a printable name; more than the limit if it is too long or not printable. */
static size_t name_length(const char *name)
{
    size_t length = 0;
    while (name != NULL && name[length] != '\0') {
        if (length == TALARIA_MAX_NAME || name[length] < 0x20 || name[length] > 0x7E) {
            return TALARIA_MAX_NAME + 1;
        }
        length++;
    }
    return length;
}

static bool are_scales(uint8_t acc_scale, uint8_t gyr_scale)
{
    return acc_scale < TALARIA_SCALES && gyr_scale < TALARIA_SCALES;
}

size_t talaria_encode_hello(uint8_t *frame, size_t size, const talaria_hello *hello)
{
    const size_t name = name_length(hello->name);
    if (name > TALARIA_MAX_NAME || !fits(size, 22 + name) || hello->protocol < 1 ||
        (hello->slot_mask & 0xFFu) == 0 || hello->rate_millihz < 1 ||
        hello->rate_millihz > TALARIA_MAX_RATE_MILLIHZ ||
        !are_scales(hello->acc_scale, hello->gyr_scale)) {
        return 0;
    }
    uint8_t *to = begin(frame, TALARIA_HELLO);
    to = put8(to, hello->protocol);
    to = put64(to, hello->device_id);
    to = put16(to, hello->slot_mask & 0xFFu);
    to = put16(to, hello->capabilities);
    to = put32(to, hello->rate_millihz);
    to = put8(to, hello->acc_scale);
    to = put8(to, hello->gyr_scale);
    to = put8(to, (uint8_t)name);
    for (size_t i = 0; i < name; i++) {
        to = put8(to, (uint8_t)hello->name[i]);
    }
    return talaria_seal(frame, size, 22 + name);
}

size_t talaria_encode_data(uint8_t *frame, size_t size, const talaria_data *data,
                           const int16_t (*counts)[6])
{
    const size_t length = 19 + 12 * (size_t)data->count;
    if (data->count < 1 || data->count > TALARIA_MAX_SAMPLES || !fits(size, length) ||
        data->slot >= TALARIA_SLOTS || data->period_us < 1 ||
        data->period_us > TALARIA_MAX_PERIOD_US || !are_scales(data->acc_scale, data->gyr_scale)) {
        return 0;
    }
    uint8_t *to = begin(frame, TALARIA_DATA);
    to = put32(to, data->device_us);
    to = put32(to, data->seq);
    to = put32(to, data->period_us);
    to = put8(to, data->slot);
    to = put8(to, data->flags & 0x1Fu);
    to = put8(to, data->acc_scale);
    to = put8(to, data->gyr_scale);
    to = put8(to, data->count);
    for (size_t k = 0; k < data->count; k++) {
        for (size_t axis = 0; axis < 6; axis++) {
            to = put16(to, (uint16_t)counts[k][axis]);
        }
    }
    return talaria_seal(frame, size, length);
}

size_t talaria_encode_status(uint8_t *frame, size_t size, const talaria_status *status)
{
    if (!fits(size, 14) || status->state > TALARIA_FAILED ||
        (status->battery > 100 && status->battery != TALARIA_BATTERY_UNKNOWN)) {
        return 0;
    }
    uint8_t *to = begin(frame, TALARIA_STATUS);
    to = put32(to, status->device_us);
    to = put8(to, status->state);
    to = put8(to, status->battery);
    to = put32(to, status->dropped);
    put16(to, status->refused);
    return talaria_seal(frame, size, 14);
}

size_t talaria_encode_pong(uint8_t *frame, size_t size, uint64_t host_us, uint32_t device_us,
                           uint32_t hold_us)
{
    if (!fits(size, 18)) {
        return 0;
    }
    put32(put32(put64(begin(frame, TALARIA_PONG), host_us), device_us), hold_us);
    return talaria_seal(frame, size, 18);
}

size_t talaria_encode_ack(uint8_t *frame, size_t size, uint8_t command, uint8_t tag)
{
    if (!fits(size, 4)) {
        return 0;
    }
    put8(put8(begin(frame, TALARIA_ACK), command), tag);
    return talaria_seal(frame, size, 4);
}

size_t talaria_encode_nack(uint8_t *frame, size_t size, uint8_t command, uint8_t tag,
                           uint8_t reason)
{
    if (!fits(size, 5) || reason < TALARIA_UNKNOWN || reason > TALARIA_BUSY) {
        return 0;
    }
    put8(put8(put8(begin(frame, TALARIA_NACK), command), tag), reason);
    return talaria_seal(frame, size, 5);
}
