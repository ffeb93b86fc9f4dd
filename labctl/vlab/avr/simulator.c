/* One AVR board: simavr's processor, its UART on a pseudo-terminal, its power behind a QMP socket.

   simulator NAME PIDFILE PART HZ RESET_AT RESETS

   It works in the current folder. There it finds `flash.bin`, which is the flash itself: whatever
   ends it in the middle of a page leaves there what a power cut leaves. It makes `console`, a link
   to the tty of its line, and `qmp.sock`. It starts without power. RESET_AT is where the processor
   begins (the fuses BOOTRST and BOOTSZ say so). RESETS is 1 where opening the line resets the board
   (on an Arduino the adapter turns the DTR that opening asserts into a pulse).

   Time is that of the clock on the wall: the processor runs in slices, and waits for the wall. A
   pseudo-terminal has no rate of its own; bytes are heard as the rates of both sides say.

   Sources: simavr 1.6 (sim_avr.h, avr_uart.h); ATmega328P datasheet: USART0 (baud rate: f / (16
   (UBRR + 1)), 8 in place of 16 with U2X), MCUSR; pty(7), inotify(7), ioctl_tty(2); QEMU Machine
   Protocol specification. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <asm/termbits.h> /* struct termios2: every rate as a number */

#include <avr_uart.h>
#include <sim_avr.h>

#define SLICE_NS 1000000LL /* the processor runs ahead of the wall by no more than this */
#define LATE_NS 50000000LL /* a machine that is busy loses time beyond this, not to be caught up */
#define HELD_NS 250000000LL /* avrdude (arduino.c) takes DTR away for so long, and the edge counts */
#define CLOSING_NS 20000000LL
#define RUN_CYCLES 256      /* a fifth of a byte at 115200 baud and 16 MHz */
#define RECEIVER_BYTES 3    /* two in the buffer, one in the shift register; more are lost */
#define IDLE_MS 1000
#define CLIENTS 8
#define QUEUE 4096

DEFINE_FIFO(uint16_t, uart_fifo); /* the functions of simavr's queue of received bytes */

static avr_t *avr;
static avr_uart_t *uart;
static double hz;
static const char *part;
static unsigned long reset_at;
static uint8_t *flash; /* the file, mapped */
static size_t flash_size;
static uint8_t *boot_section; /* what it was when the board was started */
static int resets_on_open;
static int powered, crashed, booted;
static unsigned long resets;
static double ran_ns; /* what of the wall's time the processor has lived through */

static int master = -1, watch = -1, opened;
static unsigned char in[QUEUE]; /* from the host, not yet on the wire */
static int in_begin, in_end;
static double wire_free_ns; /* when the wire to the board is free for the next byte */
static unsigned char out[QUEUE];
static int out_count;

static volatile sig_atomic_t ending;

static void die(const char *what) {
    fprintf(stderr, "labctl: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void end(int number) { ending = number; }

static double wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

static void quiet(avr_t *a, const int level, const char *format, va_list rest) {
    (void)a, (void)level, (void)format, (void)rest;
}

/* -- the wire --------------------------------------------------------------------------------- */

static double host_rate(void) {
    struct termios2 now;
    return ioctl(master, TCGETS2, &now) == 0 ? now.c_ospeed : 0;
}

static double board_rate(void) {
    unsigned divisor = avr->data[uart->ubrrl.reg] | (avr->data[uart->ubrrh.reg] & 0x0f) << 8;
    return hz / ((avr_regbit_get(avr, uart->u2x) ? 8 : 16) * (divisor + 1.0));
}

/* Return the level of a line on which `byte` was sent, `bits` after its start bit began: 8N1. */
static int level(unsigned char byte, double bits) {
    int bit = (int)bits;
    return bit == 0 ? 0 : bit >= 9 ? 1 : byte >> (bit - 1) & 1;
}

/* Hear `byte`, sent at the rate `from`, with a receiver at the rate `to`; return how many bytes it
   takes it for. With rates that fit that is one, the same. */
static int hear(unsigned char byte, double from, double to, unsigned char heard[16]) {
    int count = 0;
    double at = 0, step = to > 0 ? from / to : 1; /* in bits of the sender */
    while (count < 16 && at < 9) {
        if (level(byte, at)) { /* wait for a start bit */
            at = (int)at + 1;
            continue;
        }
        unsigned char value = 0;
        for (int bit = 0; bit < 8; bit++)
            value |= level(byte, at + (bit + 1.5) * step) << bit;
        heard[count++] = value;
        at += 9.5 * step; /* the middle of the stop bit: from here a start bit may begin */
    }
    return count;
}

static void board_sent(struct avr_irq_t *irq, uint32_t value, void *unused) {
    unsigned char heard[16];
    int count = hear(value, board_rate(), host_rate(), heard);
    (void)irq, (void)unused;
    if (opened && out_count + count <= QUEUE) { /* nobody listens, or nobody reads: lost */
        memcpy(out + out_count, heard, count);
        out_count += count;
    }
}

static void to_board(void) {
    unsigned char heard[16];
    double from = host_rate();
    if (in_begin == in_end || ran_ns < wire_free_ns)
        return;
    wire_free_ns = ran_ns + (from > 0 ? 10e9 / from : 0);
    int count = hear(in[in_begin++], from, board_rate(), heard);
    for (int i = 0; i < count; i++)
        if (avr_regbit_get(avr, uart->rxen) &&
            uart_fifo_get_read_size(&uart->input) < RECEIVER_BYTES)
            avr_raise_irq(uart->io.irq + UART_IRQ_INPUT, heard[i]);
}

static void to_host(void) {
    if (out_count == 0)
        return;
    int count = write(master, out, out_count);
    if (count > 0)
        memmove(out, out + count, out_count -= count);
}

static void from_host(void) {
    if (in_begin == in_end)
        in_begin = in_end = 0;
    if (in_end < QUEUE) {
        int count = read(master, in + in_end, QUEUE - in_end);
        if (count > 0 && powered && ran_ns <= wall_ns() + 2 * SLICE_NS) /* not held in reset */
            in_end += count;
    }
}

static void plug_in(void) {
    char name[64];
    master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (master < 0 || grantpt(master) || unlockpt(master) || ptsname_r(master, name, sizeof name))
        die("pseudo-terminal");
    /* Raw from the beginning: nothing is echoed to a board before somebody has opened the line.
       Opened and closed once, it says from then on whether somebody has it open. */
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios2 raw = {.c_cflag = CS8 | CREAD | CLOCAL | B9600};
    raw.c_cc[VMIN] = 1;
    raw.c_ispeed = raw.c_ospeed = 9600;
    if (slave < 0 || ioctl(slave, TCSETS2, &raw))
        die(name);
    close(slave);
    watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch < 0 || inotify_add_watch(watch, name, IN_OPEN | IN_CLOSE) < 0)
        die("inotify");
    unlink(".console.new");
    if (symlink(name, ".console.new") || rename(".console.new", "console"))
        die("console");
}

/* -- the processor ---------------------------------------------------------------------------- */

static void no_wait(avr_t *a, avr_cycle_count_t cycles) { (void)a, (void)cycles; }

/* A processor that sleeps is taken to its next timer in one step; this one keeps the step short, so
   that it does not oversleep what comes over the line. */
static avr_cycle_count_t tick(avr_t *a, avr_cycle_count_t when, void *unused) {
    (void)a, (void)unused;
    return when + (avr_cycle_count_t)(hz * SLICE_NS / 1e9);
}

/* Make a processor as it is after a reset. Not avr_reset: a program that ran wild through the
   registers leaves traces in simavr that it does not clear, and a real reset does. */
static void make(void) {
    avr_t *former = avr;
    avr = avr_make_mcu_by_name(part);
    if (!avr) {
        fprintf(stderr, "labctl: simavr has no processor '%s'\n", part);
        exit(2);
    }
    avr_init(avr); /* which sets the frequency, so that ours comes after */
    avr->frequency = hz;
    avr->log = 0;
    avr->sleep = no_wait;
    avr->pc = avr->reset_pc = reset_at;
    avr->codeend = avr->flashend;
    flash_size = avr->flashend + 1;
    free(avr->flash);
    avr->flash = flash;
    if (former) {
        memcpy(avr->data + avr->ioend + 1, former->data + avr->ioend + 1,
               avr->ramend - avr->ioend); /* memory keeps what it holds */
        former->flash = NULL;
        avr_terminate(former);
        free(former);
        /* The lock bits of an Arduino (0x0f) keep SPM from the boot section; simavr has none. With
           no program in the flash the processor runs wild, and in the end through SPM. */
        memcpy(flash + reset_at, boot_section, flash_size - reset_at);
    }
    uart = NULL;
    for (avr_io_t *io = avr->io_port; io && !uart; io = io->next)
        if (!strcmp(io->kind, "uart"))
            uart = (avr_uart_t *)io;
    if (!uart) {
        fprintf(stderr, "labctl: simavr's '%s' has no UART\n", part);
        exit(2);
    }
    uint32_t flags = 0; /* no lines on standard output, no waiting of its own */
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS(uart->name), &flags);
    avr_irq_register_notify(uart->io.irq + UART_IRQ_OUTPUT, board_sent, NULL);
}

static void map_flash(void) {
    struct stat found;
    int file = open("flash.bin", O_RDWR | O_CLOEXEC);
    if (file < 0 || fstat(file, &found))
        die("flash.bin");
    if ((size_t)found.st_size != flash_size) {
        fprintf(stderr, "labctl: flash.bin: has not the %zu bytes of the flash\n", flash_size);
        exit(2);
    }
    /* A page more than there is: simavr looks beyond the end. */
    flash = mmap(NULL, flash_size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                 0);
    if (flash == MAP_FAILED || mmap(flash, flash_size, PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED)
        die("flash.bin");
    avr->flash = flash;
    boot_section = malloc(flash_size - reset_at);
    memcpy(boot_section, flash + reset_at, flash_size - reset_at);
}

static void start(int by_pin) {
    make();
    avr_regbit_set(avr, by_pin ? avr->reset_flags.extrf : avr->reset_flags.porf);
    crashed = 0;
    resets++;
    in_begin = in_end = 0;
}

static void power(int on) {
    if (on && !powered) {
        start(0);
        ran_ns = wall_ns();
        booted = 1;
    }
    powered = on;
    out_count = 0;
}

static void reset_pin(void) {
    if (powered) {
        start(1);
        ran_ns = wall_ns();
    }
}

/* Let the processor live until `until`, and bytes reach it when they have come over the wire. */
static void run(double until) {
    if (!avr_cycle_timer_status(avr, tick, NULL)) /* a reset, by the watchdog say, clears it */
        avr_cycle_timer_register(avr, 1, tick, NULL);
    while (ran_ns < until && !crashed) {
        to_board();
        /* So many cycles before simavr looks around; every reset sets it to 1, which is slow. */
        avr->run_cycle_limit = RUN_CYCLES;
        avr_cycle_count_t before = avr->cycle;
        int state = avr_run(avr);
        /* A reset, by the watchdog say, sets the count back. */
        avr_cycle_count_t after = avr->cycle;
        ran_ns += (after >= before ? after - before : after) * 1e9 / hz;
        crashed = state == cpu_Crashed || state == cpu_Done || state == cpu_Stopped;
    }
}

/* -- the monitor ------------------------------------------------------------------------------ */

static struct client {
    int fd;
    int used;
    char said[4096];
} clients[CLIENTS];

static int listen_at(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, ".%s.new", name);
    unlink(address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* It gets its name when it listens already: whoever finds it finds all the rest. */
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) ||
        chmod(address.sun_path, 0600) || listen(fd, CLIENTS) || rename(address.sun_path, name))
        die(name);
    return fd;
}

static void drop(struct client *c) {
    close(c->fd);
    c->fd = -1;
}

static void say(struct client *c, const char *text) {
    size_t size = strlen(text);
    if (send(c->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size)
        drop(c);
}

static void welcome(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    for (int i = 0; fd >= 0 && i < CLIENTS; i++)
        if (clients[i].fd < 0) {
            clients[i].fd = fd;
            clients[i].used = 0;
            say(&clients[i], "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2, "
                             "\"micro\": 0}, \"package\": \"labctl avr\"}, \"capabilities\": []}}"
                             "\r\n");
            return;
        }
    if (fd >= 0)
        close(fd);
}

static void obey(struct client *c, const char *line, const char *name) {
    char reply[512] = "{\"return\": {}}\r\n";
    char command[64] = "";
    const char *at = strstr(line, "\"execute\"");
    if (at)
        sscanf(at + 9, " : \"%63[a-z_-]\"", command);
    if (!strcmp(command, "cont"))
        power(1);
    else if (!strcmp(command, "stop"))
        power(0);
    else if (!strcmp(command, "system_reset"))
        reset_pin();
    else if (!strcmp(command, "quit"))
        ending = SIGTERM;
    else if (!strcmp(command, "query-name"))
        snprintf(reply, sizeof reply, "{\"return\": {\"name\": \"%s\"}}\r\n", name);
    else if (!strcmp(command, "query-status"))
        snprintf(reply, sizeof reply,
                 "{\"return\": {\"status\": \"%s\", \"running\": %s, \"singlestep\": false}}\r\n",
                 powered ? "running" : booted ? "paused" : "prelaunch",
                 powered ? "true" : "false");
    else if (!strcmp(command, "x-stats"))
        snprintf(reply, sizeof reply,
                 "{\"return\": {\"resets\": %lu, \"crashed\": %s, \"open\": %d, "
                 "\"board_baud\": %.0f, \"host_baud\": %.0f}}\r\n",
                 resets, crashed ? "true" : "false", opened, board_rate(), host_rate());
    else if (strcmp(command, "qmp_capabilities"))
        snprintf(reply, sizeof reply,
                 "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": "
                 "\"The command %s has not been found\"}}\r\n", command);
    say(c, reply);
}

static void listen_to(struct client *c, const char *name) {
    int count = recv(c->fd, c->said + c->used, sizeof c->said - 1 - c->used, 0);
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN)
            drop(c);
        return;
    }
    c->used += count;
    c->said[c->used] = 0;
    for (char *stop; c->fd >= 0 && (stop = strchr(c->said, '\n'));) {
        *stop = 0;
        obey(c, c->said, name);
        c->used -= stop + 1 - c->said;
        memmove(c->said, stop + 1, c->used + 1);
    }
    if (c->used == sizeof c->said - 1)
        drop(c);
}

/* -- all together ----------------------------------------------------------------------------- */

/* Tell whether somebody has the line open: otherwise the master is hung up. */
static int is_open(void) {
    struct pollfd hung_up = {master, 0, 0};
    return poll(&hung_up, 1, 0) >= 0 && !(hung_up.revents & POLLHUP);
}

/* Throw away what nobody read: a port is flushed when it is closed (termios(3)), and the next who
   opens it does not hear it. The kernel keeps it in the slave, so that has to be opened. */
static void forget(void) {
    char name[64], raw[4096];
    int slave = ptsname_r(master, name, sizeof name)
                    ? -1
                    : open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (slave >= 0) {
        ioctl(slave, TCFLSH, TCIOFLUSH);
        close(slave);
    }
    while (read(watch, raw, sizeof raw) > 0) /* what we did ourselves */
        ;
}

/* The adapter asserts DTR when the first program opens the line, and drops it with the last.
   inotify joins events that are alike, so that they cannot be counted, and tells of a close before
   it is done; but it sees what polling is too slow for, one program closing the line and another
   one opening it. */
static void look_who_opened(int told) {
    static double closed_ns = -CLOSING_NS;
    char raw[4096] __attribute__((aligned(8)));
    int count = told ? read(watch, raw, sizeof raw) : 0, edge = 0;
    double now = wall_ns();
    for (int at = 0; at < count;) {
        struct inotify_event *event = (struct inotify_event *)(raw + at);
        if (event->mask & IN_OPEN && (!opened || now - closed_ns < CLOSING_NS))
            edge = 1;
        if (event->mask & IN_CLOSE)
            closed_ns = now;
        at += sizeof *event + event->len;
    }
    int was = opened;
    opened = is_open();
    if (was && !opened) {
        forget();
        edge = opened = is_open(); /* somebody came in between, and that event is gone */
    }
    if (!opened || edge)
        out_count = 0;
    if (edge) {
        closed_ns = -CLOSING_NS;
        if (resets_on_open) {
            reset_pin();
            ran_ns += HELD_NS;
        }
    }
}

int main(int count, char **words) {
    if (count != 7) {
        fprintf(stderr, "labctl: usage: NAME PIDFILE PART HZ RESET_AT RESETS\n");
        return 2;
    }
    const char *name = words[1], *pidfile = words[2];
    hz = atof(words[4]);
    resets_on_open = atoi(words[6]);
    signal(SIGTERM, end);
    signal(SIGINT, end);
    signal(SIGHUP, end);
    avr_global_logger_set(quiet);
    part = words[3];
    reset_at = strtoul(words[5], NULL, 0);
    make();
    if (reset_at >= flash_size) {
        fprintf(stderr, "labctl: the flash ends before %#lx\n", reset_at);
        return 2;
    }
    map_flash();
    plug_in();
    FILE *pid = fopen(pidfile, "w");
    if (!pid || fprintf(pid, "%d\n", (int)getpid()) < 0 || fclose(pid))
        die(pidfile);
    for (int i = 0; i < CLIENTS; i++)
        clients[i].fd = -1;
    /* A board does not slow down with the computer that it hangs on. Not allowed: no harm done. */
    setpriority(PRIO_PROCESS, 0, -10);
    int listener = listen_at("qmp.sock");

    while (!ending) {
        struct pollfd polls[3 + CLIENTS] = {{listener, POLLIN, 0}, {watch, POLLIN, 0}};
        /* A line that nobody has open is "readable" (hung up) all the time. */
        int hearing = opened && in_begin == in_end;
        polls[2] = (struct pollfd){hearing || out_count ? master : -1,
                                   (hearing ? POLLIN : 0) | (out_count ? POLLOUT : 0), 0};
        for (int i = 0; i < CLIENTS; i++)
            polls[3 + i] = (struct pollfd){clients[i].fd, POLLIN, 0};
        struct timespec rest = {IDLE_MS / 1000, 0};
        if (powered && !crashed) {
            double ahead = ran_ns - wall_ns();
            rest.tv_sec = 0;
            rest.tv_nsec = ahead > 0 ? (long)ahead : 0;
        }
        ppoll(polls, 3 + CLIENTS, &rest, NULL);
        look_who_opened(polls[1].revents);
        if (polls[0].revents)
            welcome(listener);
        for (int i = 0; i < CLIENTS; i++)
            if (polls[3 + i].revents && clients[i].fd >= 0)
                listen_to(&clients[i], name);
        if (polls[2].revents & POLLIN)
            from_host();
        to_host();
        if (powered && !crashed) {
            double now = wall_ns();
            if (ran_ns < now - LATE_NS)
                ran_ns = now - LATE_NS;
            run(now + SLICE_NS);
            to_host();
        }
    }
    unlink("console");
    unlink("qmp.sock");
    unlink(pidfile);
    return 0;
}
