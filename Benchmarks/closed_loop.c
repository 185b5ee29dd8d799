/* closed_loop: clients that put one value each, again and again, each as soon as the last one is acknowledged; one thread
 * serves them all. The same loop speaks to Holdfast and to etcd, so that a client costs both the same. Each client has a key
 * and a connection of its own, which is kept.
 *
 * usage: closed_loop holdfast|etcd-json|etcd-grpc PLACE CLIENTS WARM-UP-SECONDS SECONDS
 *
 * PLACE is the path of a Unix socket, or a TCP port of 127.0.0.1. holdfast and etcd-json are HTTP/1.1; etcd-grpc is etcd's own
 * protocol over HTTP/2 without TLS, as much of it as a put needs.
 * Prints one JSON object. "latencies" has microseconds at the 50th and 99th hundredth and the worst; "gap" is the longest time
 * between two acknowledgements, of whichever client, in microseconds; "processor" is what this program itself took, in seconds.
 * Failures are counted from the first put to the last, warm-up and end included; after one, the client goes on. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { VALUE = 256, ROOM = 16384, PATIENCE = 20 };
enum protocol { HOLDFAST, ETCD_JSON, ETCD_GRPC };

struct client {
    int number, socket;
    uint8_t out[ROOM], in[ROOM];
    size_t queued, got;
    uint32_t stream;  /* HTTP/2: of the put that is on its way */
    bool answered;    /* HTTP/2: its message has come */
    bool waiting;     /* a put is on its way */
    int64_t began;
};

static enum protocol protocol;
static const char *place;
static struct client *clients;
static int events, count;
static int64_t measured_from, measured_to, last_acknowledgement, gap;
static uint32_t *latencies;
static size_t acknowledged, room, failures;
static char first_failure[512];

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Sending */

static void queue(struct client *client, const void *bytes, size_t length) {
    if (client->queued + length > ROOM) {
        fprintf(stderr, "the other side takes nothing\n");
        exit(1);
    }
    memcpy(client->out + client->queued, bytes, length);
    client->queued += length;
}

static void frame(struct client *client, uint8_t type, uint8_t flags, uint32_t stream, const void *bytes, size_t length) {
    uint8_t head[9] = {(uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length, type, flags,
                       (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    queue(client, head, sizeof head);
    queue(client, bytes, length);
}

static void open_connection(struct client *client) {
    if (place[0] == '/') {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path, sizeof address.sun_path, "%s", place);
        client->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(client->socket, (struct sockaddr *)&address, sizeof address)) die(place);
    } else {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(place))};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(client->socket, (struct sockaddr *)&address, sizeof address)) die(place);
        setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    }
    fcntl(client->socket, F_SETFL, O_NONBLOCK);
    client->queued = client->got = 0;
    client->stream = 0;
    if (protocol == ETCD_GRPC) {
        queue(client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        frame(client, 4, 0, 0, "", 0);
        /* All the room for answers that a connection can have: it never has to be enlarged. */
        frame(client, 8, 0, 0, "\x7f\xff\x00\x00", 4);
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
    if (epoll_ctl(events, EPOLL_CTL_ADD, client->socket, &event)) die("epoll");
}

static void flush_out(struct client *client) {
    while (client->queued) {
        ssize_t sent = send(client->socket, client->out, client->queued, MSG_NOSIGNAL);
        if (sent < 0) return;  /* there is no room, or the connection is gone, which reading finds */
        client->queued -= (size_t)sent;
        memmove(client->out, client->out + sent, client->queued);
    }
}

static void put_http(struct client *client, const char *path, const char *body) {
    char text[2048];
    int length = snprintf(text, sizeof text,
                          "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                          path, strlen(body), body);
    queue(client, text, (size_t)length);
}

static void encode64(const char *text, size_t length, char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t at = 0; at < length; at += 3) {
        uint32_t word = 0;
        for (size_t place = 0; place < 3; place++) word = word << 8 | (at + place < length ? (uint8_t)text[at + place] : 0);
        for (size_t place = 0; place < 4; place++) *out++ = at + place > length ? '=' : digits[word >> (18 - 6 * place) & 63];
    }
    *out = 0;
}

static void put_grpc(struct client *client, const char *key, const char *value) {
    /* Method POST, scheme http, and literals without a table: path, authority, content type and that trailers are taken. */
    static const char head[] = "\x83\x86\x04\x14/etcdserverpb.KV/Put\x01\x09localhost\x0f\x10\x10" "application/grpc"
                               "\x00\x02te\x08trailers";
    uint8_t message[512];
    size_t length = 5, key_length = strlen(key);
    message[length++] = 0x0a;
    message[length++] = (uint8_t)key_length;
    memcpy(message + length, key, key_length);
    length += key_length;
    message[length++] = 0x12;
    message[length++] = (VALUE & 127) | 128;
    message[length++] = VALUE >> 7;
    memcpy(message + length, value, VALUE);
    length += VALUE;
    memset(message, 0, 3);
    message[3] = (uint8_t)((length - 5) >> 8);
    message[4] = (uint8_t)(length - 5);
    client->stream = client->stream ? client->stream + 2 : 1;
    client->answered = false;
    frame(client, 1, 4, client->stream, head, sizeof head - 1);
    frame(client, 0, 1, client->stream, message, length);
}

static void put(struct client *client) {
    static unsigned long sequence;
    char key[32], value[VALUE + 1], body[1024];
    snprintf(key, sizeof key, "bench.%d", client->number);
    int length = snprintf(value, sizeof value, "%lu ", ++sequence);
    memset(value + length, 'a' + (int)(sequence % 26), VALUE - (size_t)length);
    value[VALUE] = 0;
    client->began = now();
    client->waiting = true;
    if (protocol == HOLDFAST) {
        char path[64];
        snprintf(path, sizeof path, "/v1/attributes/cluster/%s/put", key);
        snprintf(body, sizeof body, "{\"value\":\"%s\"}", value);
        put_http(client, path, body);
    } else if (protocol == ETCD_JSON) {
        char key64[64], value64[VALUE * 2];
        encode64(key, strlen(key), key64);
        encode64(value, VALUE, value64);
        snprintf(body, sizeof body, "{\"key\":\"%s\",\"value\":\"%s\"}", key64, value64);
        put_http(client, "/v3/kv/put", body);
    } else {
        put_grpc(client, key, value);
    }
    flush_out(client);
}

/* Answers */

static void finish(struct client *client, bool good, const char *text, size_t length) {
    int64_t end = now();
    client->waiting = false;
    if (!good) {
        failures++;
        if (!*first_failure) {
            size_t kept = 0;
            for (size_t at = 0; at < length && kept < sizeof first_failure - 1; at++)
                first_failure[kept++] = text[at] == '"' ? '\'' : text[at] == '\\' || text[at] < ' ' ? ' ' : text[at];
        }
    } else if (end >= measured_from && end < measured_to) {
        if (acknowledged == room) {
            room = room ? room * 2 : 65536;
            latencies = realloc(latencies, room * sizeof *latencies);
            if (!latencies) die("latencies");
        }
        latencies[acknowledged++] = (uint32_t)(end - client->began);
        if (end - last_acknowledgement > gap) gap = end - last_acknowledgement;
        last_acknowledgement = end;
    }
    if (end < measured_to) put(client);
}

static void reconnect(struct client *client) {
    close(client->socket);
    open_connection(client);
    if (client->waiting) finish(client, false, "the connection was closed", 25);
}

static void consume(struct client *client, size_t length) {
    client->got -= length;
    memmove(client->in, client->in + length, client->got);
}

/* One answer, if it is whole. */
static bool take_http(struct client *client) {
    client->in[client->got] = 0;
    char *text = (char *)client->in, *body = strstr(text, "\r\n\r\n");
    if (!body) return false;
    body += 4;
    *(body - 1) = 0;
    const char *field = strcasestr(text, "content-length:");
    size_t length;
    if (field) {
        length = (size_t)(body - text) + (size_t)atol(field + 15);
    } else {
        /* In chunks: an empty one is the last, and fields may follow it. */
        const char *last = strstr(body, "\r\n0\r\n"), *end = last ? strstr(last + 3, "\r\n\r\n") : NULL;
        length = end ? (size_t)(end + 4 - text) : client->got + 1;
    }
    *(body - 1) = '\n';
    if (client->got < length) return false;
    bool good = client->got > 12 && memcmp(text + 9, "200", 3) == 0;
    char kept[400];
    size_t shown = length - (size_t)(body - text);
    if (shown > sizeof kept) shown = sizeof kept;
    memcpy(kept, body, shown);
    consume(client, length);
    finish(client, good, kept, shown);
    return true;
}

/* One frame, if it is whole. */
static bool take_frame(struct client *client) {
    if (client->got < 9) return false;
    const uint8_t *in = client->in;
    size_t length = (size_t)in[0] << 16 | (size_t)in[1] << 8 | in[2];
    if (client->got < 9 + length) return false;
    uint8_t type = in[3], flags = in[4];
    uint32_t stream = (uint32_t)(in[5] & 127) << 24 | (uint32_t)in[6] << 16 | (uint32_t)in[7] << 8 | in[8];
    bool ended = false;
    if ((type == 4 || type == 6) && !(flags & 1)) {  /* settings and pings are acknowledged */
        frame(client, type, 1, 0, in + 9, type == 6 ? length : 0);
        flush_out(client);
    } else if (type == 7) {
        client->got = 0;
        reconnect(client);
        return false;
    } else if (stream == client->stream && client->waiting) {
        if (type == 0 && length > 5) client->answered = true;
        /* Only an answer that is no error has a message before its end. */
        ended = type == 3 || (type <= 1 && flags & 1);
    }
    consume(client, 9 + length);
    if (ended) finish(client, client->answered && type != 3, "the stream ended without a message", 34);
    return true;
}

static void receive(struct client *client) {
    while (true) {
        ssize_t length = recv(client->socket, client->in + client->got, ROOM - 1 - client->got, 0);
        if (length < 0 && errno == EAGAIN) return;
        if (length <= 0) {
            reconnect(client);
            return;
        }
        client->got += (size_t)length;
        while (protocol == ETCD_GRPC ? take_frame(client) : take_http(client)) {}
    }
}

/* The whole */

static int by_size(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static double processor(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    int64_t seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec;
    int64_t microseconds = usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    return (double)seconds + (double)microseconds / 1e6;
}

static size_t unanswered(void) {
    size_t found = 0;
    for (int number = 0; number < count; number++) found += clients[number].waiting;
    return found;
}

int main(int words, char **word) {
    if (words != 6) {
        fprintf(stderr, "usage: closed_loop holdfast|etcd-json|etcd-grpc PLACE CLIENTS WARM-UP-SECONDS SECONDS\n");
        return 2;
    }
    protocol = !strcmp(word[1], "holdfast") ? HOLDFAST : !strcmp(word[1], "etcd-json") ? ETCD_JSON : ETCD_GRPC;
    place = word[2];
    count = atoi(word[3]);
    double warm_up = atof(word[4]), seconds = atof(word[5]);
    events = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc((size_t)count, sizeof *clients);
    if (events < 0 || !clients) die("closed_loop");
    for (int number = 0; number < count; number++) {
        clients[number].number = number;
        open_connection(&clients[number]);
    }
    measured_from = last_acknowledgement = now() + (int64_t)(warm_up * 1e6);
    measured_to = measured_from + (int64_t)(seconds * 1e6);
    double processor_before = processor();
    for (int number = 0; number < count; number++) put(&clients[number]);
    int64_t end = measured_to + (int64_t)PATIENCE * 1000000;
    while (now() < end && (now() < measured_to || unanswered())) {
        struct epoll_event ready[64];
        int found = epoll_wait(events, ready, 64, 20);
        for (int number = 0; number < found; number++) {
            struct client *client = ready[number].data.ptr;
            flush_out(client);
            receive(client);
        }
    }
    if (measured_to - last_acknowledgement > gap) gap = measured_to - last_acknowledgement;
    double took = processor() - processor_before;
    qsort(latencies, acknowledged, sizeof *latencies, by_size);
    uint32_t half = acknowledged ? latencies[acknowledged / 2] : 0;
    uint32_t most = acknowledged ? latencies[acknowledged * 99 / 100] : 0;
    uint32_t worst = acknowledged ? latencies[acknowledged - 1] : 0;
    printf("{\"puts\":%zu,\"seconds\":%g,\"latencies\":[%u,%u,%u],\"gap\":%lld,\"failures\":%zu,\"unanswered\":%zu,"
           "\"processor\":%.3f,\"failure\":\"%s\"}\n",
           acknowledged, seconds, half, most, worst, (long long)gap, failures, unanswered(), took, first_failure);
    return 0;
}
