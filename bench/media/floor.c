/* The least that a relay of this kind must do for a call, in plain C: what its CPU is measured against.

For each call a connected socket; epoll and recv; a clock of its own with ticks of 5 ms, of which each call has
every fourth; a frame sent with a header of its own, the oldest one heard or silence. No jitter buffer, no
statistics, no bot, no control.

    floor CALLS

Prints its ports, reads the callers' ports, says that it is connected, and then answers each further line with what its timer did since
the last one. Ends with its stdin. */

#include "common.h"

enum { TICK_MS = 5, PHASES = 4, FRAME = TICK_MS * PHASES * SAMPLES_A_MS, WAITING = 16, SLOT = 256 };

struct call {
    int fd;
    uint32_t ssrc, sequence, timestamp;
    uint32_t heard, sent; /* frames, counted; the ring has those between */
    uint8_t ring[WAITING][FRAME];
};

static struct call *calls;
static struct histogram lateness;

/* Keep the frame of one packet; the oldest makes room for it. */
static void receive(struct call *call, uint8_t *packet) {
    ssize_t length = recv(call->fd, packet, SLOT, MSG_DONTWAIT);
    if (length != HEADER_BYTES + FRAME || packet[0] >> 6 != 2)
        return;
    memcpy(call->ring[call->heard++ % WAITING], packet + HEADER_BYTES, FRAME);
    if (call->heard - call->sent > WAITING)
        call->sent = call->heard - WAITING;
}

static void send_frame(struct call *call, uint8_t *packet) {
    write_header(packet, call->sequence++, call->timestamp, call->ssrc);
    call->timestamp += FRAME;
    if (call->sent < call->heard)
        memcpy(packet + HEADER_BYTES, call->ring[call->sent++ % WAITING], FRAME);
    else
        memset(packet + HEADER_BYTES, SILENCE, FRAME);
    (void)!send(call->fd, packet, HEADER_BYTES + FRAME, MSG_DONTWAIT);
}

/* Answer a line; return whether there was one, not the end. */
static int answer(void) {
    char line[64];
    if (read(STDIN_FILENO, line, sizeof line) <= 0)
        return 0;
    printf("{");
    print_histogram("timer", &lateness);
    printf("}\n");
    fflush(stdout);
    memset(&lateness, 0, sizeof lateness);
    return 1;
}

static void run(int epoll, int count) {
    static struct epoll_event events[EVENTS];
    uint8_t packet[SLOT];
    int64_t due_ns = clock_ns(CLOCK_MONOTONIC);
    for (int tick = 0;; tick++) {
        due_ns += TICK_MS * NS_A_MS;
        sleep_until(due_ns);
        note(&lateness, clock_ns(CLOCK_MONOTONIC) - due_ns);
        int ready;
        while ((ready = epoll_wait(epoll, events, EVENTS, 0)) > 0)
            for (int i = 0; i < ready; i++) {
                if (events[i].data.u32 < (uint32_t)count)
                    receive(&calls[events[i].data.u32], packet);
                else if (!answer())
                    return;
            }
        for (int row = tick % PHASES; row < count; row += PHASES)
            send_frame(&calls[row], packet);
    }
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 0;
    if (count < 1) {
        fprintf(stderr, "usage: floor CALLS\n");
        return 2;
    }
    prepare_process();
    int epoll = epoll_create1(0);
    calls = zeroed((size_t)count, sizeof *calls);
    uint16_t *ports = zeroed((size_t)count, sizeof *ports);
    int *peers = zeroed((size_t)count, sizeof *peers);
    for (int row = 0; row < count; row++) {
        calls[row].fd = open_socket(&ports[row]);
        calls[row].ssrc = (uint32_t)row + 1;
    }
    print_ports(ports, count);
    read_ports(peers, count);
    for (int row = 0; row < count; row++) {
        connect_socket(calls[row].fd, peers[row]);
        watch_socket(epoll, calls[row].fd, (uint32_t)row);
    }
    watch_socket(epoll, STDIN_FILENO, (uint32_t)count);
    print_line("{\"connected\": true}");
    run(epoll, count);
}
