/* Fuzz what a host can do to a device: any bytes, read in any pieces, answered over a link that
 * takes what it likes.
 *
 * With libFuzzer, from this folder (and the four files of ../src in place of SRC):
 *     clang -g -fsanitize=fuzzer,address,undefined -I../include SRC command_parser.c && ./a.out
 * Without it, over random bytes:
 *     gcc -g -DPLAIN_MAIN -fsanitize=address,undefined -I../include SRC command_parser.c && ./a.out 100000
 */
#include "talaria.h"

#define SLOTS 2u
#define CAPACITY 8u

typedef struct {
    const uint8_t *bytes;
    size_t length;
    size_t at;
    size_t written;
    size_t since_delimiter;
    uint32_t now;
} host;

static talaria_device device;
static talaria_sample storage[SLOTS * CAPACITY];

static void must(bool claim)
{
    if (!claim) {
        __builtin_trap();
    }
}

static uint32_t now_us(void *context)
{
    host *h = context;
    h->now += 997;
    return h->now;
}

/* Takes 0 to 31 bytes, and looks that every frame ends in time. */
static size_t write_some(void *context, const uint8_t *bytes, size_t length)
{
    host *h = context;
    const size_t room = h->now / 997 % 32;
    const size_t taken = length < room ? length : room;
    for (size_t i = 0; i < taken; i++) {
        h->since_delimiter = bytes[i] == 0 ? 0 : h->since_delimiter + 1;
        must(h->since_delimiter < TALARIA_MAX_FRAME);
    }
    h->written += taken;
    return taken;
}

static size_t read_some(void *context, uint8_t *bytes, size_t size)
{
    host *h = context;
    size_t n = 0;
    while (n < size && h->at < h->length) {
        bytes[n++] = h->bytes[h->at++];
    }
    return n;
}

static bool set_rate(void *context, uint32_t rate_millihz)
{
    (void)context;
    return rate_millihz <= 400000;
}

static void set_streaming(void *context, bool on)
{
    (void)context;
    (void)on;
}

static void identify(void *context, uint8_t seconds)
{
    (void)context;
    (void)seconds;
}

static void fuzz_device(const uint8_t *bytes, size_t length)
{
    static const int16_t counts[6] = {1, 2, 3, 4, 5, INT16_MAX};
    host h = {.bytes = bytes, .length = length};
    const talaria_config config = {
        .board = {now_us, write_some, read_some, set_rate, set_streaming, identify},
        .context = &h,
        .name = "fuzz",
        .rate_millihz = 100000,
        .slot_mask = 0x44,
        .acc_scale = 3,
        .gyr_scale = 3,
        .samples_per_frame = 3,
        .storage = storage,
        .capacity = CAPACITY,
    };
    must(talaria_init(&device, &config));
    for (size_t polls = 0; h.at < length || polls < 64; polls++) {
        talaria_push(&device, polls % 3 == 0 ? 2 : 6, h.now, counts, 0);
        talaria_poll(&device);
        must(device.answer_count <= TALARIA_ANSWERS);
        must(polls < 64 + 64 * (length + 1)); /* it always gets on */
    }
    must(h.written > 0);
}

static void fuzz_parser(const uint8_t *bytes, size_t length)
{
    talaria_parser parser;
    talaria_command command;
    talaria_parser_init(&parser);
    for (size_t i = 0; i < length; i++) {
        if (talaria_parser_feed(&parser, bytes[i], &command)) {
            must(bytes[i] == 0);
            must(command.reason <= TALARIA_VALUE);
            must(command.reason != TALARIA_FINE ||
                 (command.type >= TALARIA_ASK_HELLO && command.type <= TALARIA_IDENTIFY));
        }
        must(parser.length <= TALARIA_MAX_COMMAND_BLOCK);
    }
}

/* A CRC is beyond a fuzzer's guessing: each piece of the input is also sent as an intact body. */
static void fuzz_intact(const uint8_t *bytes, size_t length)
{
    uint8_t stream[1024];
    size_t filled = 0;
    for (size_t at = 0; at + 2 < length;) {
        const size_t body = 2 + bytes[at] % 27u;
        uint8_t *frame = stream + filled;
        if (at + 1 + body > length || filled + body + 6 > sizeof stream) {
            break;
        }
        for (size_t i = 0; i < body; i++) {
            frame[1 + i] = bytes[at + 1 + i];
        }
        filled += talaria_seal(frame, sizeof stream - filled, body);
        at += 1 + body;
    }
    fuzz_parser(stream, filled);
    fuzz_device(stream, filled);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    fuzz_parser(bytes, length);
    fuzz_device(bytes, length);
    fuzz_intact(bytes, length);
    return 0;
}

#ifdef PLAIN_MAIN
#include <stdlib.h>

int main(int count, char **arguments)
{
    const long runs = count > 1 ? strtol(arguments[1], NULL, 10) : 10000;
    uint8_t bytes[256];
    uint32_t noise = 1;
    for (long run = 0; run < runs; run++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            noise = noise * 1664525u + 1013904223u;
            /* Half of the bytes look like a command's beginning. */
            const uint8_t byte = (uint8_t)(noise >> 24);
            bytes[i] = (noise & 0x800000u) != 0 ? (uint8_t)(0x80u | (byte & 7u)) : byte % 16;
        }
        LLVMFuzzerTestOneInput(bytes, (noise >> 8) % (sizeof bytes + 1));
    }
    return 0;
}
#endif
