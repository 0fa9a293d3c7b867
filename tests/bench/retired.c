/* A plugin of QEMU (user mode, API version 1, from QEMU 4.2) that counts retired instructions. It writes one line per
 * block of code that was translated, "ADDRESS INSTRUCTIONS EXECUTIONS", to the file named by out=FILE; arm.py sums
 * them. Counts are exact for a process with one thread. The declarations are those of qemu-plugin.h, which Debian does
 * not package. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tb;
typedef void (*translated)(uint64_t id, struct tb* block);
typedef void (*at_exit)(uint64_t id, void* data);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translated callback);
void qemu_plugin_register_vcpu_tb_exec_inline(struct tb* block, int add, void* counter, uint64_t amount);
void qemu_plugin_register_atexit_cb(uint64_t id, at_exit callback, void* data);
size_t qemu_plugin_tb_n_insns(const struct tb* block);
uint64_t qemu_plugin_tb_vaddr(const struct tb* block);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

struct block {
  uint64_t address, instructions, executions;
  struct block* next;
};
static struct block* blocks;
static FILE* out;

static void on_translation(uint64_t id, struct tb* translation) {
  (void)id;
  struct block* block = calloc(1, sizeof *block);
  if (!block) abort();
  block->address = qemu_plugin_tb_vaddr(translation);
  block->instructions = qemu_plugin_tb_n_insns(translation);
  block->next = blocks;
  blocks = block;
  qemu_plugin_register_vcpu_tb_exec_inline(translation, 0, &block->executions, 1);
}

static void on_exit_of_process(uint64_t id, void* data) {
  (void)id, (void)data;
  for (const struct block* block = blocks; block; block = block->next)
    fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->address, block->instructions, block->executions);
  fclose(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void* info, int argc, char** argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || !(out = fopen(argv[0] + 4, "w"))) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_exit_of_process, NULL);
  return 0;
}
