/* Claims about the C library that want sanitizers; test_library.py runs each by its name. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "talaria.h"
#include "vectors.h"

static int failures;

#define CHECK(claim)                                                         \
    do {                                                                     \
        if (!(claim)) {                                                      \
            printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #claim);       \
            failures++;                                                      \
        }                                                                    \
    } while (0)

#define CLAIM(name) static void name(void)

static const int16_t STILL[6] = {0, 2048, 0, 0, 0, 0};

/* ---- codec -------------------------------------------------------------------------------- */

/* Encode a vector's message into a heap block of exactly `size`, so that one byte past it is seen. */
static size_t encode_into(const golden_message *v, uint8_t *frame, size_t size)
{
    switch (v->type) {
    case TALARIA_HELLO:
        return talaria_encode_hello(frame, size, &v->hello);
    case TALARIA_DATA:
        return talaria_encode_data(frame, size, &v->data, v->counts);
    case TALARIA_STATUS:
        return talaria_encode_status(frame, size, &v->status);
    case TALARIA_PONG:
        return talaria_encode_pong(frame, size, v->host_us, v->device_us, v->hold_us);
    case TALARIA_ACK:
        return talaria_encode_ack(frame, size, v->command, v->tag);
    default:
        return talaria_encode_nack(frame, size, v->command, v->tag, v->reason);
    }
}

CLAIM(crc_of_the_nine_digits_is_the_known_one)
{
    CHECK(talaria_crc32((const uint8_t *)"123456789", 9) == 0xCBF43926u);
    CHECK(talaria_crc32(NULL, 0) == 0);
}

CLAIM(encoders_write_the_golden_frames)
{
    for (size_t i = 0; i < GOLDEN_MESSAGES; i++) {
        const golden_message *v = &golden_messages[i];
        uint8_t *frame = malloc(v->length);
        const size_t length = encode_into(v, frame, v->length);
        if (length != v->length || memcmp(frame, v->wire, length) != 0) {
            printf("%s differs\n", v->name);
            failures++;
        }
        free(frame);
    }
}

CLAIM(encoders_refuse_a_buffer_that_is_too_small)
{
    for (size_t i = 0; i < GOLDEN_MESSAGES; i++) {
        const golden_message *v = &golden_messages[i];
        for (size_t size = 1; size < v->length; size++) {
            uint8_t *frame = malloc(size);
            CHECK(encode_into(v, frame, size) == 0);
            free(frame);
        }
    }
}

CLAIM(seal_refuses_bodies_beyond_the_format)
{
    uint8_t frame[300];
    memset(frame, 1, sizeof frame);
    CHECK(talaria_seal(frame, sizeof frame, 0) == 0);
    CHECK(talaria_seal(frame, sizeof frame, 1) == 0);
    CHECK(talaria_seal(frame, sizeof frame, TALARIA_MAX_BODY - 3) == 0);
    CHECK(talaria_seal(frame, sizeof frame, TALARIA_MAX_BODY - 4) == TALARIA_MAX_FRAME);
}

CLAIM(hello_refuses_fields_beyond_their_limits)
{
    const talaria_hello fine = {.rate_millihz = 1, .slot_mask = 1, .protocol = 1, .name = "x"};
    uint8_t frame[TALARIA_MAX_FRAME];
    talaria_hello hello = fine;
    CHECK(talaria_encode_hello(frame, sizeof frame, &hello) > 0);
    hello.rate_millihz = 0;
    CHECK(talaria_encode_hello(frame, sizeof frame, &hello) == 0);
    hello.rate_millihz = TALARIA_MAX_RATE_MILLIHZ + 1;
    CHECK(talaria_encode_hello(frame, sizeof frame, &hello) == 0);
    hello = fine, hello.slot_mask = 0xFF00;
    CHECK(talaria_encode_hello(frame, sizeof frame, &hello) == 0);
    hello = fine, hello.protocol = 0;
    CHECK(talaria_encode_hello(frame, sizeof frame, &hello) == 0);
    hello = fine, hello.acc_scale = 5;
    CHECK(talaria_encode_hello(frame, sizeof frame, &hello) == 0);
    hello = fine, hello.gyr_scale = 5;
    CHECK(talaria_encode_hello(frame, sizeof frame, &hello) == 0);
    hello = fine, hello.name = "\x1b[2J";
    CHECK(talaria_encode_hello(frame, sizeof frame, &hello) == 0);
    hello = fine, hello.name = "caf\xc3\xa9";
    CHECK(talaria_encode_hello(frame, sizeof frame, &hello) == 0);
    hello = fine, hello.name = "123456789 123456789 123456789 123";
    CHECK(talaria_encode_hello(frame, sizeof frame, &hello) == 0);
}

CLAIM(data_refuses_fields_beyond_their_limits)
{
    static const int16_t counts[TALARIA_MAX_SAMPLES + 1][6];
    const talaria_data fine = {.period_us = 10000, .slot = 2, .count = 1};
    uint8_t frame[300];
    talaria_data data = fine;
    CHECK(talaria_encode_data(frame, sizeof frame, &data, counts) > 0);
    data.count = 0;
    CHECK(talaria_encode_data(frame, sizeof frame, &data, counts) == 0);
    data.count = TALARIA_MAX_SAMPLES + 1;
    CHECK(talaria_encode_data(frame, sizeof frame, &data, counts) == 0);
    data = fine, data.slot = TALARIA_SLOTS;
    CHECK(talaria_encode_data(frame, sizeof frame, &data, counts) == 0);
    data = fine, data.period_us = 0;
    CHECK(talaria_encode_data(frame, sizeof frame, &data, counts) == 0);
    data.period_us = TALARIA_MAX_PERIOD_US + 1;
    CHECK(talaria_encode_data(frame, sizeof frame, &data, counts) == 0);
    data = fine, data.acc_scale = 5;
    CHECK(talaria_encode_data(frame, sizeof frame, &data, counts) == 0);
    data = fine, data.gyr_scale = 255;
    CHECK(talaria_encode_data(frame, sizeof frame, &data, counts) == 0);
}

CLAIM(status_and_nack_refuse_fields_beyond_their_limits)
{
    uint8_t frame[TALARIA_MAX_FRAME];
    talaria_status status = {.battery = TALARIA_BATTERY_UNKNOWN};
    CHECK(talaria_encode_status(frame, sizeof frame, &status) > 0);
    status.battery = 101;
    CHECK(talaria_encode_status(frame, sizeof frame, &status) == 0);
    status.battery = 100, status.state = 3;
    CHECK(talaria_encode_status(frame, sizeof frame, &status) == 0);
    CHECK(talaria_encode_nack(frame, sizeof frame, 0x81, 0, 0) == 0);
    CHECK(talaria_encode_nack(frame, sizeof frame, 0x81, 0, 6) == 0);
}

/* ---- parser ------------------------------------------------------------------------------- */

static int feed(talaria_parser *parser, const uint8_t *bytes, size_t length,
                talaria_command *command)
{
    int found = 0;
    for (size_t i = 0; i < length; i++) {
        found += talaria_parser_feed(parser, bytes[i], command) ? 1 : 0;
    }
    return found;
}

CLAIM(parser_reads_the_golden_commands)
{
    for (size_t i = 0; i < GOLDEN_COMMANDS; i++) {
        const golden_command *v = &golden_commands[i];
        talaria_parser parser;
        talaria_command command = {0};
        talaria_parser_init(&parser);
        const int found = feed(&parser, v->wire, v->length, &command);
        const bool same = found == v->answered && parser.refused == v->refused &&
                          (found == 0 || (command.type == v->type && command.tag == v->tag &&
                                          command.reason == v->reason &&
                                          command.host_us == v->host_us &&
                                          command.rate_millihz == v->rate_millihz &&
                                          command.duration_s == v->duration_s));
        if (!same) {
            printf("%s differs: found %d refused %d type %d tag %d reason %d\n", v->name, found,
                   parser.refused, command.type, command.tag, command.reason);
            failures++;
        }
    }
}

CLAIM(parser_skips_what_is_too_long_and_reads_on)
{
    static const uint8_t ask[7] = {TALARIA_ASK_HELLO, 1, 9};
    uint8_t frame[64];
    talaria_parser parser;
    talaria_command command;
    memcpy(frame + 1, ask, sizeof ask);
    const size_t length = talaria_seal(frame, sizeof frame, 3);
    for (size_t noise = TALARIA_MAX_COMMAND_BLOCK; noise < 2000; noise++) {
        talaria_parser_init(&parser);
        for (size_t i = 0; i < noise; i++) {
            CHECK(!talaria_parser_feed(&parser, 0x55, &command));
        }
        CHECK(parser.refused == (noise > TALARIA_MAX_COMMAND_BLOCK ? 1 : 0));
        CHECK(!talaria_parser_feed(&parser, 0, &command));
        CHECK(parser.refused == 1);
        CHECK(feed(&parser, frame, length, &command) == 1);
        CHECK(command.type == TALARIA_ASK_HELLO && command.tag == 9 && command.reason == 0);
    }
}

CLAIM(parser_refuses_a_code_past_the_end_of_an_intact_body)
{
    uint8_t start[] = {8, 0x84, 1, 1, 0x99, 0x6B, 0x61, 0x77, 0}; /* one run of the whole body */
    talaria_parser parser;
    talaria_command command;
    talaria_parser_init(&parser);
    CHECK(feed(&parser, start, sizeof start, &command) == 1);
    for (uint8_t past = 9; past < 255; past++) {
        start[0] = past;
        CHECK(feed(&parser, start, sizeof start, &command) == 0);
    }
    CHECK(parser.refused == 255 - 9);
}

CLAIM(parser_count_stays_at_its_end)
{
    talaria_parser parser;
    talaria_command command;
    talaria_parser_init(&parser);
    for (int i = 0; i < 70000; i++) {
        talaria_parser_feed(&parser, 2, &command);
        talaria_parser_feed(&parser, 0, &command);
    }
    CHECK(parser.refused == 65535);
}

CLAIM(parser_survives_random_bytes)
{
    uint32_t noise = 1;
    talaria_parser parser;
    talaria_command command;
    talaria_parser_init(&parser);
    for (int i = 0; i < 2000000; i++) {
        noise = noise * 1664525u + 1013904223u;
        talaria_parser_feed(&parser, (uint8_t)((noise >> 24) % ((i & 0x100) != 0 ? 256 : 12)),
                            &command);
        CHECK(parser.length <= TALARIA_MAX_COMMAND_BLOCK);
    }
}

/* ---- ring --------------------------------------------------------------------------------- */

#define PERIOD 10000u

static talaria_ring ring;
static talaria_sample storage[8];
static talaria_data data;
static int16_t packed[TALARIA_MAX_SAMPLES][6];

static uint8_t pack(void)
{
    return talaria_ring_pack(&ring, TALARIA_MAX_SAMPLES, &data, packed);
}

static bool push(uint32_t device_us)
{
    return talaria_ring_push(&ring, device_us, PERIOD, STILL, 0);
}

CLAIM(ring_takes_only_powers_of_two)
{
    CHECK(!talaria_ring_init(&ring, NULL, 8));
    for (uint32_t capacity = 0; capacity <= 8; capacity++) {
        const bool is_power = capacity == 2 || capacity == 4 || capacity == 8;
        CHECK(talaria_ring_init(&ring, storage, capacity) == is_power);
    }
}

CLAIM(ring_keeps_order_and_numbers)
{
    talaria_ring_init(&ring, storage, 8);
    uint32_t next = 0;
    for (uint32_t k = 0; k < 1000; k++) {
        CHECK(push(k * PERIOD));
        if (k % 5 == 4) {
            CHECK(pack() == 5);
            CHECK(data.seq == next && data.device_us == next * PERIOD);
            CHECK(data.period_us == PERIOD);
            CHECK(data.flags == (next == 0 ? TALARIA_RESET : 0));
            CHECK(memcmp(packed[4], STILL, sizeof STILL) == 0);
            next += 5;
        }
    }
    CHECK(pack() == 0 && ring.dropped == 0);
}

CLAIM(ring_indices_and_numbers_wrap)
{
    talaria_ring_init(&ring, storage, 4);
    ring.head = ring.tail = UINT32_MAX - 1;
    ring.next_seq = UINT32_MAX - 1;
    for (uint32_t k = 0; k < 4; k++) {
        CHECK(push(UINT32_MAX - PERIOD + k * PERIOD)); /* the clock wraps too */
    }
    CHECK(!push(UINT32_MAX - PERIOD + 4 * PERIOD));
    CHECK(talaria_ring_count(&ring) == 4);
    CHECK(pack() == 4);
    CHECK(data.seq == UINT32_MAX - 1 && data.device_us == UINT32_MAX - PERIOD);
    CHECK(data.period_us == PERIOD && data.flags == TALARIA_RESET);
}

CLAIM(ring_drops_are_counted_and_leave_a_gap)
{
    talaria_ring_init(&ring, storage, 4);
    for (uint32_t k = 0; k < 7; k++) {
        CHECK(push(k * PERIOD) == (k < 4));
    }
    CHECK(ring.dropped == 3);
    CHECK(pack() == 4 && data.seq == 0);
    CHECK(push(7 * PERIOD));
    CHECK(pack() == 1 && data.seq == 7);
    CHECK(data.flags == 0); /* it was taken one period after number 6, so there is no time gap */
}

CLAIM(frames_end_before_a_dropped_sample)
{
    talaria_ring_init(&ring, storage, 2);
    push(0), push(PERIOD);
    CHECK(!push(PERIOD + PERIOD / 2)); /* early, so that time alone does not show that it is gone */
    CHECK(talaria_ring_pack(&ring, 1, &data, packed) == 1);
    CHECK(push(2 * PERIOD));
    CHECK(pack() == 1 && data.seq == 1);
    CHECK(pack() == 1 && data.seq == 3);
}

CLAIM(ring_owes_the_marks_of_a_dropped_sample_to_the_next)
{
    talaria_ring_init(&ring, storage, 2);
    push(0), push(PERIOD);
    CHECK(!push(50 * PERIOD)); /* a gap in time, and no room for the sample that shows it */
    CHECK(pack() == 2);
    CHECK(push(51 * PERIOD));
    CHECK(pack() == 1 && data.seq == 3 && data.flags == TALARIA_TIME_GAP);
}

CLAIM(ring_marks_samples_that_came_out_of_step)
{
    talaria_ring_init(&ring, storage, 8);
    push(0), push(PERIOD), push(3 * PERIOD), push(4 * PERIOD + PERIOD / 10);
    CHECK(pack() == 2 && data.flags == TALARIA_RESET);
    CHECK(pack() == 2 && data.flags == TALARIA_TIME_GAP);
    CHECK(data.period_us == PERIOD + PERIOD / 10);
}

CLAIM(frames_end_where_flags_or_rate_change)
{
    static const int16_t acc_full[6] = {0, INT16_MAX, 0, 0, 0, 0};
    static const int16_t gyr_full[6] = {0, 0, 0, 0, INT16_MIN, 0};
    talaria_ring_init(&ring, storage, 8);
    push(0);
    talaria_ring_push(&ring, PERIOD, PERIOD, acc_full, 0);
    talaria_ring_push(&ring, 2 * PERIOD, PERIOD, acc_full, 0);
    talaria_ring_push(&ring, 3 * PERIOD, PERIOD, gyr_full, 0);
    talaria_ring_push(&ring, 4 * PERIOD, PERIOD, STILL, TALARIA_LOW_BATTERY);
    talaria_ring_push(&ring, 5 * PERIOD, PERIOD + 1, STILL, TALARIA_LOW_BATTERY);
    CHECK(pack() == 1 && data.flags == TALARIA_RESET);
    CHECK(pack() == 2 && data.flags == TALARIA_ACC_CLIP);
    CHECK(pack() == 1 && data.flags == TALARIA_GYR_CLIP);
    CHECK(pack() == 1 && data.flags == TALARIA_LOW_BATTERY && data.period_us == PERIOD);
    CHECK(pack() == 1 && data.period_us == PERIOD + 1);
}

CLAIM(frames_tell_the_period_the_sensor_kept)
{
    talaria_ring_init(&ring, storage, 8);
    for (uint32_t k = 0; k < 5; k++) {
        push(k * 9615); /* 104 Hz where 100 was asked for */
    }
    CHECK(pack() == 5 && data.period_us == 9615);
    talaria_ring_init(&ring, storage, 8);
    talaria_ring_push(&ring, 0, 1, STILL, 0);
    talaria_ring_push(&ring, 0, 1, STILL, 0);
    CHECK(pack() == 2 && data.period_us == 1);
    talaria_ring_init(&ring, storage, 8);
    talaria_ring_push(&ring, 0, 1000000, STILL, 0);
    talaria_ring_push(&ring, 1400000, 1000000, STILL, 0);
    CHECK(pack() == 2 && data.period_us == TALARIA_MAX_PERIOD_US);
}

CLAIM(flush_counts_what_it_gives_up_and_keeps_the_reset)
{
    talaria_ring_init(&ring, storage, 8);
    push(0), push(PERIOD);
    talaria_ring_flush(&ring);
    CHECK(ring.dropped == 2 && talaria_ring_count(&ring) == 0);
    push(2 * PERIOD);
    CHECK(pack() == 1 && data.seq == 2 && data.flags == TALARIA_RESET);
}

/* ------------------------------------------------------------------------------------------- */

#define ENTRY(name) {#name, name}

static const struct {
    const char *name;
    void (*run)(void);
} claims[] = {
    ENTRY(crc_of_the_nine_digits_is_the_known_one),
    ENTRY(encoders_write_the_golden_frames),
    ENTRY(encoders_refuse_a_buffer_that_is_too_small),
    ENTRY(seal_refuses_bodies_beyond_the_format),
    ENTRY(hello_refuses_fields_beyond_their_limits),
    ENTRY(data_refuses_fields_beyond_their_limits),
    ENTRY(status_and_nack_refuse_fields_beyond_their_limits),
    ENTRY(parser_reads_the_golden_commands),
    ENTRY(parser_skips_what_is_too_long_and_reads_on),
    ENTRY(parser_refuses_a_code_past_the_end_of_an_intact_body),
    ENTRY(parser_count_stays_at_its_end),
    ENTRY(parser_survives_random_bytes),
    ENTRY(ring_takes_only_powers_of_two),
    ENTRY(ring_keeps_order_and_numbers),
    ENTRY(ring_indices_and_numbers_wrap),
    ENTRY(ring_drops_are_counted_and_leave_a_gap),
    ENTRY(frames_end_before_a_dropped_sample),
    ENTRY(ring_owes_the_marks_of_a_dropped_sample_to_the_next),
    ENTRY(ring_marks_samples_that_came_out_of_step),
    ENTRY(frames_end_where_flags_or_rate_change),
    ENTRY(frames_tell_the_period_the_sensor_kept),
    ENTRY(flush_counts_what_it_gives_up_and_keeps_the_reset),
};

int main(int count, char **arguments)
{
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        if (count == 2 && strcmp(arguments[1], claims[i].name) == 0) {
            claims[i].run();
            return failures == 0 ? 0 : 1;
        }
    }
    puts("no such claim");
    return 2;
}
