/* Counts the instructions that an emulated program runs: a plugin for qemu's user-mode emulation.
 *
 * The program sets a marker by a system call that no kernel has, number MARKER_SYSCALL; at each, the count so far is
 * written to the file named by the argument `out`, as a line `<first argument of the call> <count>`.
 * Debian's qemu-user does not ship qemu-plugin.h, so the declarations are copied here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifndef PLUGIN_API
#error "expected PLUGIN_API, the version of qemu's plugin API: 1 before qemu 9, 2 from then on"
#endif
#define MARKER_SYSCALL 65261
#define PUBLIC __attribute__((visibility("default")))
#define MAX_PROCESSORS 1024

typedef uint64_t plugin_id;
typedef struct block block;
typedef void (*on_translation)(plugin_id, block *);
typedef void (*on_execution)(unsigned int processor, void *data);
typedef void (*on_system_call)(plugin_id, unsigned int processor, int64_t number, uint64_t, uint64_t, uint64_t,
                               uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

extern size_t qemu_plugin_tb_n_insns(const block *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translation);
extern void qemu_plugin_register_vcpu_tb_exec_cb(block *, on_execution, int registers, void *data);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_system_call);

PUBLIC int qemu_plugin_version = PLUGIN_API;

/* One count for each thread of the program, because increments are not atomic. */
static uint64_t counts[MAX_PROCESSORS];
static FILE *out;

static void executed(unsigned int processor, void *instructions)
{
    counts[processor % MAX_PROCESSORS] += (uintptr_t)instructions;
}

static void translated(plugin_id id, block *translation)
{
    qemu_plugin_register_vcpu_tb_exec_cb(translation, executed, 0, (void *)qemu_plugin_tb_n_insns(translation));
}

static void called(plugin_id id, unsigned int processor, int64_t number, uint64_t marker, uint64_t b, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    uint64_t total = 0;

    if (number != MARKER_SYSCALL)
        return;
    for (int index = 0; index < MAX_PROCESSORS; index++)
        total += counts[index];
    fprintf(out, "%" PRIu64 " %" PRIu64 "\n", marker, total);
    fflush(out);
}

PUBLIC int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    for (int index = 0; index < argc; index++)
        if (strncmp(argv[index], "out=", 4) == 0)
            out = fopen(argv[index] + 4, "w");
    if (out == NULL)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
