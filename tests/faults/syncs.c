/* Preloaded into a process: every fsync and fdatasync is asked for at a socket instead of at the kernel.
 *
 * Whoever holds the other end of $SYNCS_FD gets the number of the file descriptor and looks at the file; the call returns when
 * it has answered with one byte. Without headers and libc at link time, so that a bare gcc is enough.
 */
extern char *getenv(const char *name);
extern int atoi(const char *text);
extern long read(int fd, void *buffer, unsigned long size);
extern long write(int fd, const void *buffer, unsigned long size);

static char busy;

static int ask(int fd)
{
    const char *channel = getenv("SYNCS_FD");
    char answer = 0;
    long got = -1;
    while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE)) {
    }
    if (channel && write(atoi(channel), &fd, sizeof fd) == sizeof fd)
        got = read(atoi(channel), &answer, 1);
    __atomic_clear(&busy, __ATOMIC_RELEASE);
    return got == 1 ? 0 : -1;
}

int fsync(int fd) { return ask(fd); }
int fdatasync(int fd) { return ask(fd); }
