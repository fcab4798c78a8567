/* Takes out of the static file 0.55 MB of glibc that aloud never runs.
 *
 * glibc's stdio, its locales, message catalogues and character sets come with every static program, even an empty one,
 * because a few functions that such a program does need mention them. Rust's standard library uses none of them, and
 * neither does aloud. Here is each of those functions again, without them. The linker finds these first, and then has
 * no reason to fetch more of glibc: it takes 317 of its objects, not 576.
 *
 * If anything in the program does use stdio, its objects come along and bring functions of the same names. The linker
 * says "multiple definition", and scripts/static/cc.sh makes the larger file instead. What it cannot find is a weak
 * reference that is now left empty where glibc counts on it. So this file is for the versions that were tried, Debian
 * 12's and 13's: of each, the weak references were compared. For all others it refuses to be compiled.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#if !defined __x86_64__ || __GLIBC__ != 2 || (__GLIBC_MINOR__ != 36 && __GLIBC_MINOR__ != 41)
#error "not tried with this glibc"
#endif

/* Called when the first thread is started: from now on streams have to be locked. There are none. */
void _IO_enable_locks(void) {}

/* Called at the start: sets the tables of isalpha(3) and its kin for the locale. Nobody asks them. */
void __ctype_init(void) {}

/* Each thread sets it to its own resolver's state, which nobody uses: aloud looks no names up. */
__thread void *__libc_resp;

/* malloc_stats(3) would print with these. */
FILE *stderr;

int fprintf(FILE *file, const char *format, ...) {
    (void)file, (void)format;
    abort();
}

#if __GLIBC_MINOR__ >= 41
int __fprintf_chk(FILE *file, int level, const char *format, ...) {
    (void)file, (void)level, (void)format;
    abort();
}

int _IO_fputs(const char *text, FILE *file) {
    (void)text, (void)file;
    abort();
}

size_t fwrite(const void *restrict bytes, size_t size, size_t count, FILE *restrict file) {
    (void)bytes, (void)size, (void)count, (void)file;
    abort();
}

/* A thread's stack is named with it in /proc/self/maps, for who sets the tunable glibc.mem.decorate_maps. */
int __snprintf(char *text, size_t size, const char *format, ...) {
    (void)format;
    if (size > 0)
        *text = 0;
    return 0;
}
#endif

/* glibc's own assertions. Its message has the place too, by way of asprintf(3) and a translation. */
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function) {
    (void)file, (void)line, (void)function;
    (void)!write(STDERR_FILENO, assertion, strlen(assertion));
    (void)!write(STDERR_FILENO, "\n", 1);
    abort();
}

/* What an error number means, in English: strerror_r(3) would look for a translation. */
char *__strerror_r(int error, char *text, size_t size) {
    const char *known = strerrordesc_np(error);
    (void)text, (void)size;
    return (char *)(known ? known : "Unknown error");
}

/* Rust looks for functions that an older glibc may not have. A static program has nothing to look in. */
void *dlsym(void *restrict library, const char *restrict name) {
    (void)library, (void)name;
    return NULL;
}

/* Rust asks where a thread's stack ends, to name the thread if it should ever run over. The kernel ends the process all
 * the same, without that line. glibc reads /proc/self/maps with sscanf(3), and that brings all that numbers can be. */
int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes) {
    (void)thread, (void)attributes;
    return ENOSYS;
}

/* Rust names only the thread that asks. For others glibc makes the name of a file with sprintf(3). */
int pthread_setname_np(pthread_t thread, const char *name) {
    return pthread_equal(thread, pthread_self()) && prctl(PR_SET_NAME, name) == 0 ? 0 : ENOSYS;
}

/* glibc reads the number of cores with these, out of files of the kernel: decimal digits. Its own know of locales. */
unsigned long strtoul(const char *restrict text, char **restrict end, int base) {
    unsigned long number = 0;
    (void)base;
    for (; *text >= '0' && *text <= '9'; text++)
        number = number * 10 + (unsigned long)(*text - '0');
    if (end)
        *end = (char *)text;
    return number;
}

long strtol(const char *restrict text, char **restrict end, int base) {
    return (long)strtoul(text, end, base);
}
