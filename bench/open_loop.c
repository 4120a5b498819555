// Open-loop load: requests are due at a fixed rate whether or not earlier ones are answered, and latency counts from the moment a request
// was due, so that a proxy that stalls cannot hide it. latency.py compiles and runs this.
//
//   open_loop PORT CONNECTIONS RATE SECONDS WARM_UP_SECONDS < request
//
// The request is read from stdin, with its line ends. Replies need a Content-Length and must fit into the buffer. Prints one line:
// answered, failed, and p50, p99, p99.9 and the longest latency in microseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 65536

typedef struct {
    int fd, is_waiting;
    uint64_t due;
    size_t length;
    char reply[BUFFER];
} Connection;

static int port, poller;
static Connection **idle; // a stack
static int idle_count;
static long failed;

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void connect_again(Connection *connection) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    int one = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->fd < 0 || connect(connection->fd, (void *)&address, sizeof address) < 0) die("connect");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event);
    connection->is_waiting = 0;
    idle[idle_count++] = connection;
}

// The size of the whole reply, or 0 while its head is not complete.
static size_t reply_size(Connection *connection) {
    connection->reply[connection->length] = 0;
    char *end = strstr(connection->reply, "\r\n\r\n"), *field = strcasestr(connection->reply, "\r\ncontent-length:");
    if (!end) return 0;
    return (size_t)(end - connection->reply) + 4 + (field && field < end ? strtoul(field + 17, NULL, 10) : 0);
}

// Reads what has come; 1 when the reply is complete, -1 when the connection was lost.
static int read_reply(Connection *connection) {
    ssize_t count = recv(connection->fd, connection->reply + connection->length, BUFFER - 1 - connection->length, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count <= 0) return -1;
    connection->length += (size_t)count;
    size_t size = reply_size(connection);
    return size && connection->length >= size;
}

static void drop(Connection *connection) {
    if (connection->is_waiting) failed++;
    for (int at = 0; at < idle_count; at++) {
        if (idle[at] == connection) idle[at--] = idle[--idle_count];
    }
    close(connection->fd);
    connect_again(connection);
}

static int by_value(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

int main(int count, char **args) {
    if (count != 6) return fprintf(stderr, "usage: open_loop PORT CONNECTIONS RATE SECONDS WARM_UP_SECONDS < request\n"), 2;
    port = atoi(args[1]);
    int connections = atoi(args[2]);
    double rate = atof(args[3]), seconds = atof(args[4]), warm_up = atof(args[5]);
    static char request[BUFFER];
    size_t request_length = fread(request, 1, sizeof request, stdin);
    size_t room = (size_t)(rate * seconds) + 1000, samples = 0;
    uint32_t *latencies = malloc(room * sizeof *latencies);
    idle = malloc((size_t)connections * sizeof *idle);
    poller = epoll_create1(0);
    for (int at = 0; at < connections; at++) {
        Connection *connection = calloc(1, sizeof *connection);
        if (!connection || !latencies || !idle) die("memory");
        connect_again(connection);
    }

    uint64_t start = now_ns(), end = start + (uint64_t)((warm_up + seconds) * 1e9), measured = start + (uint64_t)(warm_up * 1e9);
    double period = 1e9 / rate;
    struct epoll_event events[256];
    for (uint64_t sent = 0, now = start; now < end; now = now_ns()) {
        uint64_t due = start + (uint64_t)((double)sent * period);
        while (idle_count && due <= now) {
            Connection *connection = idle[--idle_count];
            connection->due = due;
            connection->length = 0;
            connection->is_waiting = 1;
            if (send(connection->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) drop(connection);
            due = start + (uint64_t)((double)++sent * period);
            now = now_ns();
        }
        uint64_t pause = idle_count ? (due > now ? due - now : 0) : 1000000;
        struct timespec timeout = {.tv_sec = 0, .tv_nsec = (long)(pause < 1000000 ? pause : 1000000)};
        int ready = epoll_pwait2(poller, events, 256, &timeout, NULL);
        for (int at = 0; at < ready; at++) {
            Connection *connection = events[at].data.ptr;
            int outcome = read_reply(connection);
            if (outcome < 0) drop(connection);
            if (outcome <= 0) continue;
            connection->is_waiting = 0;
            idle[idle_count++] = connection;
            if (connection->due < measured || samples == room) continue;
            if (strncmp(connection->reply + 9, "200", 3)) failed++;
            latencies[samples++] = (uint32_t)((now_ns() - connection->due) / 1000);
        }
    }
    if (!samples) return fprintf(stderr, "nothing was answered\n"), 1;
    qsort(latencies, samples, sizeof *latencies, by_value);
#define QUANTILE(part) latencies[(size_t)((double)(samples - 1) * (part))]
    printf("%zu %ld %u %u %u %u\n", samples, failed, QUANTILE(0.5), QUANTILE(0.99), QUANTILE(0.999), latencies[samples - 1]);
}
