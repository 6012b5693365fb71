/* Bytes to commands: whatever comes in, at most one block of 33 bytes is kept. */
#include "talaria.h"

#define SHORTEST_BODY 6u

TALARIA_CLAIM(longest_command_fits_the_block, 14u + 1u <= TALARIA_MAX_COMMAND_BLOCK);
TALARIA_CLAIM(block_length_fits_its_byte, TALARIA_MAX_COMMAND_BLOCK < 256u);

static uint32_t get32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static uint64_t get64(const uint8_t *from)
{
    return (uint64_t)get32(from) | (uint64_t)get32(from + 4) << 32;
}

void talaria_parser_init(talaria_parser *parser)
{
    parser->refused = 0;
    talaria_parser_restart(parser);
}

void talaria_parser_restart(talaria_parser *parser)
{
    parser->length = 0;
    parser->skipping = false;
}

static void refuse(talaria_parser *parser)
{
    if (parser->refused < UINT16_MAX) {
        parser->refused++;
    }
}

/* Undo COBS in place; false if a code points past the end. The body is then in block[1 .. n - 1]. */
static bool unstuff(uint8_t *block, uint8_t length)
{
    size_t at = 0;
    while (at < length) {
        const size_t next = at + block[at];
        if (next > length) {
            return false;
        }
        block[at] = 0;
        at = next;
    }
    return true;
}

/* Length of a command's whole body; 0 for a type that is no command of this version. */
static uint8_t body_length(uint8_t type)
{
    switch (type) {
    case TALARIA_ASK_HELLO:
    case TALARIA_START:
    case TALARIA_STOP:
        return 7;
    case TALARIA_PING:
        return 14;
    case TALARIA_SET_RATE:
        return 11;
    case TALARIA_IDENTIFY:
        return 8;
    default:
        return 0;
    }
}

/* Read an intact body. */
static void read_body(const uint8_t *body, uint8_t length, talaria_command *command)
{
    const uint8_t wanted = body_length(body[0]);
    command->host_us = 0;
    command->rate_millihz = 0;
    command->duration_s = 0;
    command->reason = TALARIA_FINE;
    command->type = body[0];
    command->tag = length > SHORTEST_BODY ? body[2] : 0;
    if (wanted == 0 || body[1] != TALARIA_VERSION) {
        command->reason = TALARIA_UNKNOWN;
    } else if (length != wanted) {
        command->reason = TALARIA_LENGTH;
    } else if (command->type == TALARIA_PING) {
        command->host_us = get64(body + 2);
    } else if (command->type == TALARIA_SET_RATE) {
        const uint32_t rate_millihz = get32(body + 3);
        if (rate_millihz < 1 || rate_millihz > TALARIA_MAX_RATE_MILLIHZ) {
            command->reason = TALARIA_VALUE;
        } else {
            command->rate_millihz = rate_millihz;
        }
    } else if (command->type == TALARIA_IDENTIFY) {
        command->duration_s = body[3];
    }
}

/* Our own messages come back from a line that echoes; to answer them would never end. */
static bool is_from_device(uint8_t type)
{
    return type >= TALARIA_HELLO && type <= TALARIA_NACK;
}

/* A block has ended: read it, or count it. */
static bool end_block(talaria_parser *parser, talaria_command *command)
{
    const uint8_t length = parser->length;
    const uint8_t *body = parser->block + 1;
    const bool skipped = parser->skipping;
    talaria_parser_restart(parser);
    if (skipped || length == 0) {
        return false; /* counted when it grew too long; or nothing between two delimiters */
    }
    if (!unstuff(parser->block, length) || length < 1 + SHORTEST_BODY ||
        talaria_crc32(body, length - 5u) != get32(body + length - 5) || is_from_device(body[0])) {
        refuse(parser);
        return false;
    }
    read_body(body, (uint8_t)(length - 1), command);
    if (command->reason != TALARIA_FINE) {
        refuse(parser);
    }
    return true;
}

bool talaria_parser_feed(talaria_parser *parser, uint8_t byte, talaria_command *command)
{
    if (byte == 0) {
        return end_block(parser, command);
    }
    if (parser->length == TALARIA_MAX_COMMAND_BLOCK) {
        if (!parser->skipping) {
            parser->skipping = true;
            refuse(parser);
        }
        return false;
    }
    parser->block[parser->length++] = byte;
    return false;
}
