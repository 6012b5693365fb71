/* Talaria for microcontrollers: wire-format.md, version 1, from the device's side.
 *
 * C99, no heap, no C library, any endianness. Everything a board needs is in this file: most boards
 * use only the last part, the device, and hand it their six functions (boards/README.md).
 */
#ifndef TALARIA_H
#define TALARIA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TALARIA_CLAIM(name, claim) typedef char talaria_claim_##name[(claim) ? 1 : -1]

/* Orders what an interrupt (or another core) and the main loop write; define it for your compiler. */
#ifndef TALARIA_FENCE
#ifdef __GNUC__
#define TALARIA_FENCE() __sync_synchronize()
#else
#error "define TALARIA_FENCE() as your compiler's full memory barrier"
#endif
#endif

/* ---- limits of the wire ------------------------------------------------------------------- */

#define TALARIA_VERSION 1u
#define TALARIA_MAX_BODY 242u
#define TALARIA_MAX_FRAME (TALARIA_MAX_BODY + 2u) /* COBS byte in front, delimiter behind */
#define TALARIA_MAX_COMMAND_BLOCK 33u
#define TALARIA_MAX_SAMPLES 18u
#define TALARIA_MAX_NAME 32u
#define TALARIA_MAX_PERIOD_US 1000000u
#define TALARIA_MAX_RATE_MILLIHZ 1000000000u
#define TALARIA_SLOTS 8u
#define TALARIA_SCALES 5u
#define TALARIA_BATTERY_UNKNOWN 255u

/* Plain numbers and not enums: they are bytes on the wire, and an enum's size is the compiler's. */
#define TALARIA_HELLO 0x01u
#define TALARIA_DATA 0x02u
#define TALARIA_STATUS 0x03u
#define TALARIA_PONG 0x04u
#define TALARIA_ACK 0x05u
#define TALARIA_NACK 0x06u
#define TALARIA_ASK_HELLO 0x81u
#define TALARIA_PING 0x82u
#define TALARIA_SET_RATE 0x83u
#define TALARIA_START 0x84u
#define TALARIA_STOP 0x85u
#define TALARIA_IDENTIFY 0x86u

#define TALARIA_CAN_START_STOP 0x01u
#define TALARIA_CAN_SET_RATE 0x02u
#define TALARIA_CAN_PING 0x04u
#define TALARIA_CAN_IDENTIFY 0x08u
#define TALARIA_CAN_STATUS 0x10u

#define TALARIA_GYR_CLIP 0x01u
#define TALARIA_ACC_CLIP 0x02u
#define TALARIA_TIME_GAP 0x04u
#define TALARIA_RESET 0x08u
#define TALARIA_LOW_BATTERY 0x10u

#define TALARIA_IDLE 0u
#define TALARIA_STREAMING 1u
#define TALARIA_FAILED 2u

#define TALARIA_FINE 0u /* no reason: the command can be obeyed */
#define TALARIA_UNKNOWN 1u
#define TALARIA_LENGTH 2u
#define TALARIA_VALUE 3u
#define TALARIA_UNSUPPORTED 4u
#define TALARIA_BUSY 5u

/* ---- messages to bytes (codec.c) ---------------------------------------------------------- */

typedef struct {
    uint64_t device_id;
    uint32_t rate_millihz;
    uint16_t slot_mask; /* bit n: slot n */
    uint16_t capabilities;
    uint8_t protocol;
    uint8_t acc_scale;
    uint8_t gyr_scale;
    const char *name; /* ends in a zero here, not on the wire; NULL is no name */
} talaria_hello;

typedef struct {
    uint32_t device_us; /* at the first sample */
    uint32_t seq;
    uint32_t period_us;
    uint8_t slot;
    uint8_t flags;
    uint8_t acc_scale;
    uint8_t gyr_scale;
    uint8_t count;
} talaria_data;

typedef struct {
    uint32_t device_us;
    uint32_t dropped;
    uint16_t refused;
    uint8_t state;
    uint8_t battery; /* percent, or TALARIA_BATTERY_UNKNOWN */
} talaria_status;

/* CRC-32 of zlib and Ethernet. */
uint32_t talaria_crc32(const uint8_t *bytes, size_t length);

/* Close the message whose body, without its CRC, is in frame[1 .. length]: append the CRC, stuff
 * (COBS, in place), append the delimiter. Returns the frame's length from frame[0], or 0 if it does
 * not fit `size` or the format. */
size_t talaria_seal(uint8_t *frame, size_t size, size_t length);

/* Write one whole frame, delimiter included, and return its length; 0, with nothing useful in
 * `frame`, if it does not fit `size` bytes or a field is out of its limits. */
size_t talaria_encode_hello(uint8_t *frame, size_t size, const talaria_hello *hello);
size_t talaria_encode_data(uint8_t *frame, size_t size, const talaria_data *data,
                           const int16_t (*counts)[6]);
size_t talaria_encode_status(uint8_t *frame, size_t size, const talaria_status *status);
size_t talaria_encode_pong(uint8_t *frame, size_t size, uint64_t host_us, uint32_t device_us,
                           uint32_t hold_us);
size_t talaria_encode_ack(uint8_t *frame, size_t size, uint8_t command, uint8_t tag);
size_t talaria_encode_nack(uint8_t *frame, size_t size, uint8_t command, uint8_t tag,
                           uint8_t reason);

/* ---- bytes to commands (parser.c) --------------------------------------------------------- */

typedef struct {
    uint64_t host_us;      /* PING */
    uint32_t rate_millihz; /* SET_RATE */
    uint8_t type;
    uint8_t tag;
    uint8_t duration_s; /* IDENTIFY */
    uint8_t reason;     /* TALARIA_FINE, or why it must be refused with NACK */
} talaria_command;

typedef struct {
    uint8_t block[TALARIA_MAX_COMMAND_BLOCK];
    uint8_t length;
    bool skipping;
    uint16_t refused; /* stays at 65 535 */
} talaria_parser;

void talaria_parser_init(talaria_parser *parser);

/* Forget an unfinished block, as after a lost link; keep the count. */
void talaria_parser_restart(talaria_parser *parser);

/* Take in one byte. True: `command` is to be answered (see its `reason`). */
bool talaria_parser_feed(talaria_parser *parser, uint8_t byte, talaria_command *command);

/* ---- samples between interrupt and main loop (ring.c) ------------------------------------- */

typedef struct {
    uint32_t device_us;
    uint32_t seq;
    uint32_t period_us; /* nominal, when it was taken */
    int16_t counts[6]; /* acc x, y, z, gyr x, y, z */
    uint8_t flags;
} talaria_sample;

/* One slot's queue: the interrupt pushes, the main loop packs. */
typedef struct {
    talaria_sample *storage;
    uint32_t mask;
    volatile uint32_t head;    /* written by the interrupt */
    volatile uint32_t tail;    /* written by the main loop */
    volatile uint32_t dropped; /* samples that were numbered and found no room */
    volatile uint8_t marks;    /* TIME_GAP and RESET owed to the next sample that finds room */
    uint32_t next_seq;
    uint32_t last_us;
    bool has_last;
} talaria_ring;

/* `capacity` is a power of two from 2 to 2^31; false, and nothing done, if it is not. */
bool talaria_ring_init(talaria_ring *ring, talaria_sample *storage, uint32_t capacity);

/* Interrupt: number a sample and queue it; counts at the end of their range are flagged as clipped,
 * and a sample far from one period after the last as TIME_GAP. False: there was no room, and it is
 * counted. */
bool talaria_ring_push(talaria_ring *ring, uint32_t device_us, uint32_t period_us,
                       const int16_t counts[6], uint8_t flags);

/* How many are queued. */
uint32_t talaria_ring_count(const talaria_ring *ring);

/* Main loop: move up to `limit` consecutive samples into `data` and `counts`, as far as one DATA
 * message can carry them (same flags, no gap in number or time). Sets data->device_us, seq,
 * period_us, flags and count; returns the count. */
uint8_t talaria_ring_pack(talaria_ring *ring, uint8_t limit, talaria_data *data,
                          int16_t (*counts)[6]);

/* Main loop, while nothing is pushed: give up what is queued, and count it as dropped. */
void talaria_ring_flush(talaria_ring *ring);

/* ---- a whole device (device.c) ------------------------------------------------------------ */

/* The six functions of a board. The first two are needed; without one of the others (NULL) the
 * device does not offer what it is for. */
typedef struct {
    /* Microseconds since start, from one clock that never stops, wrapping after 2^32. */
    uint32_t (*now_us)(void *board);
    /* Hand bytes to the link without waiting; returns how many it took, from 0 to all. */
    size_t (*write)(void *board, const uint8_t *bytes, size_t length);
    /* Take bytes from the link without waiting; returns how many there were. */
    size_t (*read)(void *board, uint8_t *bytes, size_t size);
    /* Set every sensor's rate; false, with nothing changed, if they cannot. */
    bool (*set_rate)(void *board, uint32_t rate_millihz);
    /* Begin or end sampling. */
    void (*set_streaming)(void *board, bool on);
    /* Blink or buzz for so many seconds; 0 ends it. */
    void (*identify)(void *board, uint8_t seconds);
} talaria_board;

typedef struct {
    talaria_board board;
    void *context; /* handed to each of the six */
    uint64_t device_id;
    const char *name; /* kept, not copied, like the storage */
    uint32_t rate_millihz;
    uint8_t slot_mask;
    uint8_t acc_scale;
    uint8_t gyr_scale;
    uint8_t samples_per_frame; /* a frame waits for so many, 1 to 18; one that is late carries more */
    talaria_sample *storage;   /* room for `capacity` samples of each slot in the mask */
    uint32_t capacity;         /* per slot, a power of two, more than samples_per_frame */
} talaria_config;

#define TALARIA_ANSWERS 4u

typedef struct {
    talaria_command command;
    uint32_t received_us;
} talaria_answer;

typedef struct {
    talaria_config config;
    talaria_parser parser;
    talaria_ring rings[TALARIA_SLOTS]; /* of the slots in the mask, in rising order */
    uint8_t slot_of[TALARIA_SLOTS];
    uint8_t slots;
    uint8_t next_slot;
    volatile bool accepting; /* samples are taken: the interrupt reads it */
    volatile uint32_t period_us;
    bool streaming;
    bool failed;
    uint8_t battery;
    bool hello_due;
    bool status_due;
    uint32_t beat_us;
    talaria_answer answers[TALARIA_ANSWERS];
    uint8_t answer_count;
    bool greeted;
    uint8_t out[1u + TALARIA_MAX_FRAME];
    size_t out_length;
    size_t out_sent;
} talaria_device;

/* False if the configuration breaks a limit. A board without set_streaming streams from here on. */
bool talaria_init(talaria_device *device, const talaria_config *config);

/* Main loop: read commands, obey and answer them, send what is due. Call it after every interrupt
 * of the link or the sensors; it never waits. */
void talaria_poll(talaria_device *device);

/* Interrupt or main loop: one sample was taken at `device_us`. False if it was not queued. */
bool talaria_push(talaria_device *device, uint8_t slot, uint32_t device_us,
                  const int16_t counts[6], uint8_t flags);

/* Main loop: the link ended, which means STOP; what was not sent is counted as dropped. */
void talaria_link_lost(talaria_device *device);

/* Main loop: news for STATUS. */
void talaria_set_battery(talaria_device *device, uint8_t percent);
void talaria_set_failed(talaria_device *device, bool failed);

#endif
