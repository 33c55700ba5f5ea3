/* Callers: N phones in one process, each with a socket of its own, that say numbered PCMU frames over loopback
and time their echo.

    callers CALLS SECONDS WARM_UP_SECONDS TAIL_SECONDS

Prints its ports; reads the port that each caller sends to (0: this one has no call); prints when the measured
time begins and ends; listens for the tail; prints what it heard. The callers' packets are spread evenly over a
frame's time. Nothing here batches packets of several sockets: sendmmsg and recvmmsg serve one socket, and
io_uring is blocked in many containers.

Arrival is the kernel's time of the packet (SO_TIMESTAMPNS), so that what else runs on this core is no latency.
A frame counts as echoed if it came back octet for octet. */

#include "common.h"
#include <math.h>

enum {
    FRAME_MS = 20,
    FRAME = FRAME_MS * SAMPLES_A_MS,
    PACKET = HEADER_BYTES + FRAME,
    NUMBER = 4, /* octets of a frame that have its number, six bits each: never silence, always loud */
    REMEMBERED = 1024, /* frames whose time of sending is kept */
    SLOT = 2048,
};

#define FRAME_NS (FRAME_MS * NS_A_MS)
#define POLL_NS NS_A_MS

struct caller {
    int fd;
    uint8_t packet[PACKET];
    int64_t sent_at[REMEMBERED];
    uint8_t *is_echoed; /* by frame */
    /* What is known of the packets that come back. */
    int is_heard;
    uint32_t ssrc, timestamp;
    int64_t samples;     /* the timestamp without wraps */
    int64_t earliest_ns; /* the least of (arrival - timestamp): the packet that was most in time */
    int64_t transit_ns;
    double jitter_ns; /* RFC 3550 §6.4.1 */
};

static struct caller *callers;
static int count;
static int64_t frames, first_counted;
static int64_t begun_ns, ended_ns = INT64_MAX; /* of the measured time, by the clock of arrivals */
static uint64_t sent, send_errors, echoed, echoed_twice, not_whole, silent;
static struct histogram latency, lateness, timer;

static void make_caller(struct caller *caller, uint32_t row) {
    write_header(caller->packet, 0, 0, row + 1);
    for (int at = HEADER_BYTES; at < PACKET; at++)
        caller->packet[at] = (uint8_t)(rand() % 64);
    caller->is_echoed = zeroed((size_t)frames, 1);
}

static void write_number(uint8_t *at, int64_t number) {
    for (int i = 0; i < NUMBER; i++)
        at[i] = number >> 6 * (NUMBER - 1 - i) & 63;
}

static int64_t read_number(const uint8_t *at) {
    int64_t number = 0;
    for (int i = 0; i < NUMBER; i++) {
        if (at[i] > 63)
            return -1;
        number = number << 6 | at[i];
    }
    return number;
}

static void say(struct caller *caller, int64_t frame) {
    write_16(caller->packet + 2, (uint32_t)frame & 0xFFFF);
    write_32(caller->packet + 4, (uint32_t)(frame * FRAME));
    write_number(caller->packet + HEADER_BYTES, frame);
    caller->sent_at[frame % REMEMBERED] = clock_ns(CLOCK_REALTIME);
    if (send(caller->fd, caller->packet, PACKET, MSG_DONTWAIT) != PACKET)
        send_errors++;
    sent += frame >= first_counted;
}

/* Say what is due between two counts of packets, counted over all callers in turn. */
static void say_due(int64_t begin, int64_t end) {
    for (; begin < end; begin++) {
        if (begin == first_counted * count) {
            begun_ns = clock_ns(CLOCK_REALTIME);
            print_line("{\"begun\": true}");
        }
        say(&callers[begin % count], begin / count);
        if (begin == frames * count - 1) {
            ended_ns = clock_ns(CLOCK_REALTIME);
            print_line("{\"ended\": true}");
        }
    }
}

/* Compare a packet's arrival with the others of its call, by its timestamp: the relay's own clock. */
static void note_clock(struct caller *caller, const uint8_t *packet, int64_t at_ns) {
    uint32_t ssrc = read_32(packet + 8), timestamp = read_32(packet + 4);
    int is_new = !caller->is_heard || ssrc != caller->ssrc;
    caller->samples += is_new ? 0 : (int32_t)(timestamp - caller->timestamp);
    caller->ssrc = ssrc, caller->timestamp = timestamp, caller->is_heard = 1;
    int64_t transit_ns = at_ns - caller->samples * NS_A_MS / SAMPLES_A_MS;
    if (is_new)
        caller->earliest_ns = caller->transit_ns = transit_ns;
    if (transit_ns < caller->earliest_ns)
        caller->earliest_ns = transit_ns;
    caller->jitter_ns += (fabs((double)(transit_ns - caller->transit_ns)) - caller->jitter_ns) / 16;
    caller->transit_ns = transit_ns;
    if (at_ns >= begun_ns && at_ns < ended_ns && begun_ns)
        note(&lateness, transit_ns - caller->earliest_ns);
}

static void hear(struct caller *caller, const uint8_t *packet, ssize_t length, int64_t at_ns) {
    static const uint8_t silence[4] = {SILENCE, SILENCE, SILENCE, SILENCE};
    int is_counted = begun_ns && at_ns >= begun_ns && at_ns < ended_ns;
    if (length != PACKET || packet[0] != 0x80 || packet[1] & 0x7F) {
        not_whole += is_counted;
        return;
    }
    note_clock(caller, packet, at_ns);
    const uint8_t *frame = packet + HEADER_BYTES, *said = caller->packet + HEADER_BYTES;
    int64_t number = read_number(frame);
    int is_ours = number >= 0 && number < frames && !memcmp(frame + NUMBER, said + NUMBER, FRAME - NUMBER);
    if (!is_ours) {
        int is_silent = !memcmp(frame, silence, sizeof silence) && !memcmp(frame, frame + 1, FRAME - 1);
        silent += is_counted && is_silent;
        not_whole += is_counted && !is_silent;
    } else if (number >= first_counted) {
        echoed_twice += caller->is_echoed[number];
        echoed += !caller->is_echoed[number];
        caller->is_echoed[number] = 1;
        note(&latency, at_ns - caller->sent_at[number % REMEMBERED]);
    }
}

/* Take one packet of a caller, with the kernel's time of its arrival. */
static void receive(struct caller *caller) {
    static uint8_t packet[SLOT];
    union {
        char space[CMSG_SPACE(sizeof(struct timespec))];
        struct cmsghdr aligned;
    } control;
    struct iovec into = {packet, sizeof packet};
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(caller->fd, &message, MSG_DONTWAIT);
    struct cmsghdr *stamp = CMSG_FIRSTHDR(&message);
    if (length < 0 || !stamp || stamp->cmsg_type != SCM_TIMESTAMPNS)
        return; /* an ICMP error of an earlier packet */
    struct timespec at;
    memcpy(&at, CMSG_DATA(stamp), sizeof at);
    hear(caller, packet, length, at.tv_sec * NS_A_S + at.tv_nsec);
}

static void receive_all(int epoll) {
    static struct epoll_event events[EVENTS];
    int ready;
    while ((ready = epoll_wait(epoll, events, EVENTS, 0)) > 0)
        for (int i = 0; i < ready; i++)
            receive(&callers[events[i].data.u32]);
}

/* All frames at real time; packets late by our own fault are sent at once. */
static void run(int epoll, int64_t tail_ns) {
    int64_t origin_ns = clock_ns(CLOCK_MONOTONIC), due_ns = origin_ns, said = 0;
    int64_t end_ns = origin_ns + frames * FRAME_NS + tail_ns;
    while (due_ns < end_ns) {
        sleep_until(due_ns);
        int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
        int64_t due = (now_ns - origin_ns) * count / FRAME_NS;
        if (due > frames * count)
            due = frames * count;
        if (begun_ns && due < frames * count)
            note(&timer, now_ns - due_ns);
        say_due(said, due);
        said = due;
        receive_all(epoll);
        now_ns = clock_ns(CLOCK_MONOTONIC);
        due_ns += POLL_NS;
        if (now_ns > due_ns) /* what was left out is no further lateness */
            due_ns += (now_ns - due_ns) / POLL_NS * POLL_NS;
    }
}

static void print_result(void) {
    double jitter_ns = 0;
    for (int row = 0; row < count; row++)
        jitter_ns += callers[row].jitter_ns / count;
    printf("{\"sent\": %lu, \"sent_in_all\": %ld, \"send_errors\": %lu, \"echoed\": %lu, "
           "\"echoed_twice\": %lu, \"not_whole\": %lu, \"silent\": %lu, \"jitter_ms\": %.3f, ",
           sent, frames * count, send_errors, echoed, echoed_twice, not_whole, silent, jitter_ns / NS_A_MS);
    print_histogram("latency", &latency);
    printf(", ");
    print_histogram("lateness", &lateness);
    printf(", ");
    print_histogram("timer", &timer);
    printf("}\n");
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: callers CALLS SECONDS WARM_UP_SECONDS TAIL_SECONDS\n");
        return 2;
    }
    int asked = atoi(argv[1]);
    double seconds = atof(argv[2]), warm_up_s = atof(argv[3]), tail_s = atof(argv[4]);
    first_counted = (int64_t)(warm_up_s * 1000 / FRAME_MS);
    frames = first_counted + (int64_t)(seconds * 1000 / FRAME_MS);
    prepare_process();
    callers = zeroed((size_t)asked, sizeof *callers);
    uint16_t *ports = zeroed((size_t)asked, sizeof *ports);
    int *fds = zeroed((size_t)asked, sizeof *fds), *peers = zeroed((size_t)asked, sizeof *peers);
    for (int row = 0; row < asked; row++)
        fds[row] = open_socket(&ports[row]);
    print_ports(ports, asked);
    read_ports(peers, asked);
    int epoll = epoll_create1(0), on = 1;
    for (int row = 0; row < asked; row++)
        if (peers[row]) {
            connect_socket(fds[row], peers[row]);
            if (setsockopt(fds[row], SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0)
                fail("SO_TIMESTAMPNS");
            watch_socket(epoll, fds[row], (uint32_t)count);
            callers[count].fd = fds[row];
            make_caller(&callers[count], (uint32_t)count);
            count++;
        }
    if (count)
        run(epoll, (int64_t)(tail_s * NS_A_S));
    print_result();
}
