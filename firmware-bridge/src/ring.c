/* One slot's queue between an interrupt that takes samples and a main loop that sends them. */
#include "talaria.h"

#define ONCE (TALARIA_TIME_GAP | TALARIA_RESET)

bool talaria_ring_init(talaria_ring *ring, talaria_sample *storage, uint32_t capacity)
{
    if (storage == NULL || capacity < 2 || (capacity & (capacity - 1)) != 0) {
        return false;
    }
    ring->storage = storage;
    ring->mask = capacity - 1;
    ring->head = 0;
    ring->tail = 0;
    ring->dropped = 0;
    ring->marks = TALARIA_RESET;
    ring->next_seq = 0;
    ring->last_us = 0;
    ring->has_last = false;
    return true;
}

/* Whether `interval` is far from one period: a sample is missing, or came at another rate. */
static bool is_gap(uint32_t interval, uint32_t period_us)
{
    return interval < period_us / 2 || interval > period_us + period_us / 2;
}

static uint8_t clips(const int16_t counts[6])
{
    uint8_t flags = 0;
    for (size_t axis = 0; axis < 6; axis++) {
        if (counts[axis] == INT16_MAX || counts[axis] == INT16_MIN) {
            flags |= axis < 3 ? TALARIA_ACC_CLIP : TALARIA_GYR_CLIP;
        }
    }
    return flags;
}

bool talaria_ring_push(talaria_ring *ring, uint32_t device_us, uint32_t period_us,
                       const int16_t counts[6], uint8_t flags)
{
    const uint32_t head = ring->head;
    const uint32_t seq = ring->next_seq++;
    if (ring->has_last && is_gap(device_us - ring->last_us, period_us)) {
        ring->marks |= TALARIA_TIME_GAP;
    }
    ring->last_us = device_us;
    ring->has_last = true;
    if (head - ring->tail > ring->mask) {
        ring->dropped++; /* its marks wait for the next that is sent: the host must see them */
        return false;
    }
    talaria_sample *sample = &ring->storage[head & ring->mask];
    sample->device_us = device_us;
    sample->seq = seq;
    sample->period_us = period_us;
    for (size_t axis = 0; axis < 6; axis++) {
        sample->counts[axis] = counts[axis];
    }
    sample->flags = (uint8_t)(flags | clips(counts) | ring->marks);
    ring->marks = 0;
    TALARIA_FENCE(); /* the sample before the news of it */
    ring->head = head + 1;
    return true;
}

uint32_t talaria_ring_count(const talaria_ring *ring)
{
    return ring->head - ring->tail;
}

/* Whether `next` may stand behind `last` in one message. */
static bool follows(const talaria_sample *next, const talaria_sample *last)
{
    return next->seq == last->seq + 1 && (next->flags & ONCE) == 0 &&
           next->flags == (last->flags & ~ONCE) && next->period_us == last->period_us &&
           !is_gap(next->device_us - last->device_us, last->period_us);
}

/* Mean spacing of a frame's samples: what the sensor did, not what it was asked for, since its own
 * oscillator can be off by percents. */
static uint32_t spacing(uint32_t span_us, uint32_t steps)
{
    const uint32_t period_us = (span_us + steps / 2) / steps;
    if (period_us < 1) {
        return 1;
    }
    return period_us > TALARIA_MAX_PERIOD_US ? TALARIA_MAX_PERIOD_US : period_us;
}

uint8_t talaria_ring_pack(talaria_ring *ring, uint8_t limit, talaria_data *data,
                          int16_t (*counts)[6])
{
    const uint32_t tail = ring->tail;
    const uint32_t queued = ring->head - tail;
    TALARIA_FENCE(); /* the news of a sample before the sample */
    const talaria_sample *last = NULL;
    uint8_t n = 0;
    while (n < limit && n < queued) {
        const talaria_sample *sample = &ring->storage[(tail + n) & ring->mask];
        if (last != NULL && !follows(sample, last)) {
            break;
        }
        if (last == NULL) {
            data->device_us = sample->device_us;
            data->seq = sample->seq;
            data->period_us = sample->period_us;
            data->flags = sample->flags;
        }
        for (size_t axis = 0; axis < 6; axis++) {
            counts[n][axis] = sample->counts[axis];
        }
        last = sample;
        n++;
    }
    data->count = n;
    if (n > 1) {
        data->period_us = spacing(last->device_us - data->device_us, n - 1u);
    }
    TALARIA_FENCE(); /* the sample is read before its place is given back */
    ring->tail = tail + n;
    return n;
}

void talaria_ring_flush(talaria_ring *ring)
{
    while (ring->tail != ring->head) {
        ring->marks |= ring->storage[ring->tail & ring->mask].flags & ONCE;
        ring->dropped++;
        ring->tail++;
    }
}
