/* Records what has really been synced, so that a test can take away everything else, as a power loss would.
 * Preloaded into a server; each successful sync appends one line to the file named by SYNC_LOG:
 *   "F <inode> <size>"   this file is durable up to this size
 *   "V <nanoseconds>"    everything written before this time is durable (syncfs)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void note(const char *line, int length) {
    int fd = open(getenv("SYNC_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) {
        if (write(fd, line, length) != length) abort();
        close(fd);
    }
}

static int sync_file(const char *name, int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    struct stat before;
    fstat(fd, &before); /* what is written during the sync is not promised */
    int result = real(fd);
    if (result == 0) {
        char line[64];
        note(line, snprintf(line, sizeof line, "F %lu %ld\n", (unsigned long)before.st_ino, (long)before.st_size));
    }
    return result;
}

int fsync(int fd) { return sync_file("fsync", fd); }
int fdatasync(int fd) { return sync_file("fdatasync", fd); }

int syncfs(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "syncfs");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int result = real(fd);
    if (result == 0) {
        char line[64];
        note(line, snprintf(line, sizeof line, "V %ld%09ld\n", (long)now.tv_sec, now.tv_nsec));
    }
    return result;
}
