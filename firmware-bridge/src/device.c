/* A whole device: commands in, answers and samples out, on top of a board's six functions. */
#include "talaria.h"

#define BEAT_US 1000000u
#define BYTES_PER_POLL 64u /* so that a host that floods cannot keep samples from leaving */

TALARIA_CLAIM(first_frame_fits_behind_its_delimiter, TALARIA_MAX_FRAME + 1u <= 245u);
TALARIA_CLAIM(slots_fit_the_mask, TALARIA_SLOTS <= 8u);

static uint32_t now_us(const talaria_device *device)
{
    return device->config.board.now_us(device->config.context);
}

static uint32_t period_of(uint32_t rate_millihz)
{
    return (1000000000u + rate_millihz / 2) / rate_millihz;
}

static bool is_rate(uint32_t rate_millihz)
{
    /* Below 1 Hz the period does not fit a DATA message. */
    return rate_millihz >= 1000 && rate_millihz <= TALARIA_MAX_RATE_MILLIHZ;
}

static uint8_t state_of(const talaria_device *device)
{
    if (device->failed) {
        return TALARIA_FAILED;
    }
    return device->streaming ? TALARIA_STREAMING : TALARIA_IDLE;
}

static void mark_gap(talaria_device *device)
{
    for (uint8_t i = 0; i < device->slots; i++) {
        device->rings[i].marks |= TALARIA_TIME_GAP;
    }
}

/* Let samples in, or keep them out: the interrupt looks at `accepting` before all else. */
static void accept_samples(talaria_device *device, bool on)
{
    TALARIA_FENCE();
    device->accepting = on;
    TALARIA_FENCE();
}

static void set_streaming(talaria_device *device, bool on)
{
    if (on == device->streaming) {
        return;
    }
    device->streaming = on;
    device->status_due = true;
    if (on) {
        accept_samples(device, true);
        device->config.board.set_streaming(device->config.context, true);
    } else {
        accept_samples(device, false);
        device->config.board.set_streaming(device->config.context, false);
        mark_gap(device);
    }
}

static bool set_rate(talaria_device *device, uint32_t rate_millihz)
{
    if (!is_rate(rate_millihz)) {
        return false;
    }
    /* Samples that come while the sensors change over belong to neither rate. */
    accept_samples(device, false);
    const bool changed = device->config.board.set_rate(device->config.context, rate_millihz);
    if (changed) {
        device->config.rate_millihz = rate_millihz;
        device->period_us = period_of(rate_millihz);
        device->hello_due = true;
        mark_gap(device);
    }
    accept_samples(device, device->streaming);
    return changed;
}

/* ---- start-up ----------------------------------------------------------------------------- */

static uint8_t collect_slots(talaria_device *device)
{
    uint8_t slots = 0;
    for (uint8_t slot = 0; slot < TALARIA_SLOTS; slot++) {
        if ((device->config.slot_mask >> slot & 1) != 0) {
            device->slot_of[slots++] = slot;
        }
    }
    return slots;
}

static bool init_rings(talaria_device *device)
{
    const talaria_config *config = &device->config;
    if (config->storage == NULL || config->capacity <= config->samples_per_frame) {
        return false;
    }
    for (uint8_t i = 0; i < device->slots; i++) {
        talaria_sample *storage = config->storage + (size_t)i * config->capacity;
        if (!talaria_ring_init(&device->rings[i], storage, config->capacity)) {
            return false;
        }
    }
    return true;
}

static uint16_t capabilities(const talaria_board *board)
{
    uint32_t can = TALARIA_CAN_STATUS;
    if (board->read != NULL) {
        can |= TALARIA_CAN_PING;
        can |= board->set_streaming != NULL ? TALARIA_CAN_START_STOP : 0;
        can |= board->set_rate != NULL ? TALARIA_CAN_SET_RATE : 0;
        can |= board->identify != NULL ? TALARIA_CAN_IDENTIFY : 0;
    }
    return (uint16_t)can;
}

static size_t encode_hello(const talaria_device *device, uint8_t *frame)
{
    const talaria_config *config = &device->config;
    const talaria_hello hello = {
        .device_id = config->device_id,
        .rate_millihz = config->rate_millihz,
        .slot_mask = config->slot_mask,
        .capabilities = capabilities(&config->board),
        .protocol = TALARIA_VERSION,
        .acc_scale = config->acc_scale,
        .gyr_scale = config->gyr_scale,
        .name = config->name,
    };
    return talaria_encode_hello(frame, TALARIA_MAX_FRAME, &hello);
}

bool talaria_init(talaria_device *device, const talaria_config *config)
{
    if (config->board.now_us == NULL || config->board.write == NULL ||
        !is_rate(config->rate_millihz) || config->samples_per_frame < 1 ||
        config->samples_per_frame > TALARIA_MAX_SAMPLES) {
        return false;
    }
    device->config = *config;
    device->slots = collect_slots(device);
    /* HELLO has limits of its own, on the name and the scales. */
    if (!init_rings(device) || encode_hello(device, device->out) == 0) {
        return false;
    }
    talaria_parser_init(&device->parser);
    device->next_slot = 0;
    device->period_us = period_of(config->rate_millihz);
    device->streaming = (capabilities(&config->board) & TALARIA_CAN_START_STOP) == 0;
    device->failed = false;
    device->battery = TALARIA_BATTERY_UNKNOWN;
    device->hello_due = true;
    device->status_due = true;
    device->beat_us = now_us(device);
    device->answer_count = 0;
    device->greeted = false;
    device->out_length = 0;
    device->out_sent = 0;
    accept_samples(device, device->streaming);
    return true;
}

/* ---- commands in -------------------------------------------------------------------------- */

static uint16_t needed_for(uint8_t command)
{
    switch (command) {
    case TALARIA_START:
    case TALARIA_STOP:
        return TALARIA_CAN_START_STOP;
    case TALARIA_SET_RATE:
        return TALARIA_CAN_SET_RATE;
    case TALARIA_IDENTIFY:
        return TALARIA_CAN_IDENTIFY;
    default:
        return 0;
    }
}

/* Do what an ACK or NACK answers; the reason is left in the command. */
static void obey(talaria_device *device, talaria_command *command)
{
    const uint16_t needed = needed_for(command->type);
    if ((capabilities(&device->config.board) & needed) != needed) {
        command->reason = TALARIA_UNSUPPORTED;
    } else if (command->type == TALARIA_START || command->type == TALARIA_STOP) {
        set_streaming(device, command->type == TALARIA_START);
    } else if (command->type == TALARIA_SET_RATE) {
        command->reason = set_rate(device, command->rate_millihz) ? TALARIA_FINE : TALARIA_VALUE;
    } else if (command->type == TALARIA_IDENTIFY) {
        device->config.board.identify(device->config.context, command->duration_s);
    }
}

static void take_command(talaria_device *device, talaria_command *command)
{
    const uint32_t received_us = now_us(device);
    if (command->reason == TALARIA_FINE) {
        obey(device, command);
    }
    if (command->type == TALARIA_ASK_HELLO && command->reason == TALARIA_FINE) {
        device->hello_due = true;
        return;
    }
    talaria_answer *answer = &device->answers[device->answer_count++];
    answer->command = *command;
    answer->received_us = received_us;
}

static void receive(talaria_device *device)
{
    const talaria_board *board = &device->config.board;
    talaria_command command;
    uint8_t byte = 0;
    if (board->read == NULL) {
        return;
    }
    /* What finds no room for its answer waits unread in the board's buffer. */
    for (size_t i = 0; i < BYTES_PER_POLL && device->answer_count < TALARIA_ANSWERS; i++) {
        if (board->read(device->config.context, &byte, 1) == 0) {
            return;
        }
        if (talaria_parser_feed(&device->parser, byte, &command)) {
            take_command(device, &command);
        }
    }
}

/* ---- messages out ------------------------------------------------------------------------- */

static size_t encode_answer(talaria_device *device, uint8_t *frame)
{
    const talaria_answer *answer = &device->answers[0];
    const talaria_command *command = &answer->command;
    if (command->reason != TALARIA_FINE) {
        return talaria_encode_nack(frame, TALARIA_MAX_FRAME, command->type, command->tag,
                                   command->reason);
    }
    if (command->type == TALARIA_PING) {
        return talaria_encode_pong(frame, TALARIA_MAX_FRAME, command->host_us, answer->received_us,
                                   now_us(device) - answer->received_us);
    }
    return talaria_encode_ack(frame, TALARIA_MAX_FRAME, command->type, command->tag);
}

static void drop_first_answer(talaria_device *device)
{
    device->answer_count--;
    for (uint8_t i = 0; i < device->answer_count; i++) {
        device->answers[i] = device->answers[i + 1];
    }
}

static uint32_t dropped(const talaria_device *device)
{
    uint32_t sum = 0;
    for (uint8_t i = 0; i < device->slots; i++) {
        sum += device->rings[i].dropped;
    }
    return sum;
}

static size_t encode_status(const talaria_device *device, uint8_t *frame)
{
    const talaria_status status = {
        .device_us = now_us(device),
        .dropped = dropped(device),
        .refused = device->parser.refused,
        .state = state_of(device),
        .battery = device->battery,
    };
    return talaria_encode_status(frame, TALARIA_MAX_FRAME, &status);
}

/* The next slot, in turn, that has a frame's worth; after STOP the rest is worth a frame too. */
static size_t encode_samples(talaria_device *device, uint8_t *frame)
{
    const uint32_t wanted = device->streaming ? device->config.samples_per_frame : 1;
    for (uint8_t tries = 0; tries < device->slots; tries++) {
        const uint8_t i = device->next_slot;
        device->next_slot = (uint8_t)((i + 1) % device->slots);
        if (talaria_ring_count(&device->rings[i]) >= wanted) {
            int16_t counts[TALARIA_MAX_SAMPLES][6];
            talaria_data data = {.slot = device->slot_of[i],
                                 .acc_scale = device->config.acc_scale,
                                 .gyr_scale = device->config.gyr_scale};
            talaria_ring_pack(&device->rings[i], TALARIA_MAX_SAMPLES, &data, counts);
            return talaria_encode_data(frame, TALARIA_MAX_FRAME, &data,
                                       (const int16_t(*)[6])counts);
        }
    }
    return 0;
}

static size_t encode_next(talaria_device *device, uint8_t *frame)
{
    if (device->hello_due) {
        device->hello_due = false;
        return encode_hello(device, frame);
    }
    if (device->status_due) {
        device->status_due = false;
        return encode_status(device, frame);
    }
    return encode_samples(device, frame);
}

/* Hand over what is waiting; false if some of it has to wait on. */
static bool hand_over(talaria_device *device)
{
    const talaria_config *config = &device->config;
    const size_t left = device->out_length - device->out_sent;
    const size_t taken =
        config->board.write(config->context, device->out + device->out_sent, left);
    device->out_sent += taken < left ? taken : left;
    return device->out_sent == device->out_length;
}

/* Answers go first and are written anew for each attempt: a PONG tells how long it was held. */
static bool send_answer(talaria_device *device)
{
    device->out_length = encode_answer(device, device->out);
    device->out_sent = 0;
    const bool whole = hand_over(device);
    if (device->out_sent == 0) {
        device->out_length = 0;
        return false;
    }
    drop_first_answer(device);
    return whole;
}

static bool send_next(talaria_device *device)
{
    /* One delimiter before all else, so that what the line picked up at power-on ends there. */
    const size_t lead = device->greeted ? 0 : 1;
    if (device->greeted && device->answer_count > 0) {
        return send_answer(device);
    }
    const size_t length = encode_next(device, device->out + lead);
    if (length == 0) {
        return false;
    }
    device->out[0] = lead == 1 ? 0 : device->out[0];
    device->greeted = true;
    device->out_length = lead + length;
    device->out_sent = 0;
    return hand_over(device);
}

static void transmit(talaria_device *device)
{
    bool ready = device->out_sent == device->out_length || hand_over(device);
    while (ready) {
        ready = send_next(device);
    }
}

static void beat(talaria_device *device)
{
    const uint32_t now = now_us(device);
    if (now - device->beat_us >= BEAT_US) {
        device->beat_us = now;
        device->hello_due = true;
        device->status_due = true;
    }
}

void talaria_poll(talaria_device *device)
{
    receive(device);
    beat(device);
    transmit(device);
}

/* ---- the board's news --------------------------------------------------------------------- */

bool talaria_push(talaria_device *device, uint8_t slot, uint32_t device_us,
                  const int16_t counts[6], uint8_t flags)
{
    if (!device->accepting) {
        return false;
    }
    for (uint8_t i = 0; i < device->slots; i++) {
        if (device->slot_of[i] == slot) {
            return talaria_ring_push(&device->rings[i], device_us, device->period_us, counts,
                                     flags);
        }
    }
    return false;
}

void talaria_link_lost(talaria_device *device)
{
    if (device->config.board.set_streaming != NULL) {
        set_streaming(device, false);
    }
    if (!device->accepting) {
        for (uint8_t i = 0; i < device->slots; i++) {
            talaria_ring_flush(&device->rings[i]);
        }
    }
    talaria_parser_restart(&device->parser);
    device->answer_count = 0;
    device->out_length = 0;
    device->out_sent = 0;
    device->greeted = false;
    device->hello_due = true;
}

void talaria_set_battery(talaria_device *device, uint8_t percent)
{
    device->battery = percent <= 100 ? percent : TALARIA_BATTERY_UNKNOWN;
}

void talaria_set_failed(talaria_device *device, bool failed)
{
    device->status_due = device->status_due || failed != device->failed;
    device->failed = failed;
}
