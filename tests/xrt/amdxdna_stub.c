/* Stands in for the amdxdna driver and the array below it, so that the genuine XRT runs without hardware.
 *
 * Preloaded, it takes over the accel node: it answers the ioctls and computes what the stand-in instructions
 * (tests/support/stand_in_kernels.py) of a command say. The array has a memory of its own here, which only SYNC_BO
 * fills and only SYNC_BO reads (XRT needs `force_driver_sync`). It works on a command when that is waited for, and on
 * one whenever the program sleeps, as who polls does; not before. So a missing sync, a result read too early or an
 * operand overwritten too early gives wrong results.
 *
 *   XRT_STUB_FAULT    KIND@N, for the N-th dispatch (from 1) unless said otherwise:
 *                             hang (until the driver's own timeout), timeout, abort, error, zeros,
 *                             part (the last element of the last result is wrong), enomem (N-th bo),
 *                             context (N-th hw_context), gone (from the N-th ioctl on)
 *   XRT_STUB_TIMEOUT  the driver's own timeout in ms, 2000 if not set
 *   XRT_STUB_WAIT_CMD contexts have no syncobj, so that XRT waits with WAIT_CMD: it ignores errors of the
 *                             other wait, and reports its own timeout as "unexpected command state"
 *   XRT_STUB_SHARED   the array reads and writes the host's memory; XRT syncs as it does on hardware
 *   XRT_STUB_COUNTS   a file for what was counted, written as JSON when the process ends
 *
 * A program in the same process may call amdxdna_stub_fault, amdxdna_stub_count, and amdxdna_stub_instant, after
 * which nothing is computed: what is left is the cost of the host. It may also take over what is the text of a
 * design (tests/support/text_kernels.py) by amdxdna_stub_text: the array's part is then the xclbin's PDI, as
 * CONFIG_HWCTX brings it, the runtime sequence is the instructions, and the memory is what the array sees.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <drm/amdxdna_accel.h>

#define NODE "/dev/accel/accel0"
#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* --- What a device holds ------------------------------------------------------------------------------- */

/* The device address of a bo is its handle in the upper 32 bits, and at the same time the offset at which the
 * host maps it. The heap of instructions lies below all of them. */
enum { MAX_BOS = 1 << 16, MAX_CONTEXTS = 6, MAX_QUEUED = 1 << 12 };
#define HEAP_BASE 0x4000000ull
#define HEAP_LIMIT (512ull << 20)
#define PAGE 4096ull

struct bo {
    uint32_t type; /* AMDXDNA_BO_INVALID: free */
    uint64_t size, address;
    char *host;   /* as the process mapped it */
    char *device; /* as the array sees it */
};

struct context {
    bool used;
    uint32_t pdi; /* the bo of its array's configuration; 0: not configured */
};

struct command {
    uint32_t context, handle;
};

static struct {
    int fd;
    struct bo bos[MAX_BOS];
    uint32_t highest_bo;
    struct context contexts[MAX_CONTEXTS + 1];
    char *heap_host, *heap_device;
    uint64_t heap_size;
    struct command queue[MAX_QUEUED];
    uint64_t submitted, finished; /* sequence numbers; the queue lies between */
    bool hanging;                 /* the command at the head of the queue does not end */
    struct timespec hanging_since;
} node = {.fd = -1};

static struct {
    uint64_t dispatches, chains, submissions, waits, ioctls, syncs, bos, bos_created, contexts, contexts_created;
} counts;

static struct {
    char kind[16];
    uint64_t at;
    uint64_t dispatches, bos, contexts, ioctls; /* counts when it was set */
} fault;

/* Recursive: a text dispatch comes back here where it opens and closes files. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static bool shared, instant;

/* Bytes that the array sees, as far as they go in their bo; NULL where nothing is. */
struct seen {
    void *start;
    uint64_t bytes;
};

/* Does what the text of a design says: its array's part, its sequence, and every data bo of the command. Returns 0,
 * or writes a reason. It is called in the thread that waits or sleeps; what else happens in the process must not wait for the
 * device meanwhile. */
typedef int (*text_dispatch)(const struct seen *array, const struct seen *sequence, const struct seen *bos,
                             char *reason, uint64_t reason_bytes);
static text_dispatch dispatch_text;

static void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("amdxdna stub: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* Set or, with NULL, take back a fault; it counts from now on. */
void amdxdna_stub_fault(const char *text)
{
    memset(&fault, 0, sizeof fault);
    if (text == NULL || *text == '\0')
        return;
    unsigned long at = 0;
    static const char *const kinds[] = {"hang",  "timeout", "abort",   "error", "zeros",
                                        "part", "enomem",  "context", "gone"};
    bool known = sscanf(text, "%15[a-z]@%lu", fault.kind, &at) == 2 && at > 0;
    size_t kind = 0;
    while (known && kind < ARRAY_LENGTH(kinds) && strcmp(kinds[kind], fault.kind) != 0)
        kind++;
    if (!known || kind == ARRAY_LENGTH(kinds)) {
        complain("no such fault: %s", text);
        abort();
    }
    fault.at = at;
    fault.dispatches = counts.dispatches;
    fault.bos = counts.bos_created;
    fault.contexts = counts.contexts_created;
    fault.ioctls = counts.ioctls;
}

static const struct {
    const char *name;
    const uint64_t *count;
} names[] = {
    {"dispatches", &counts.dispatches},
    {"chains", &counts.chains},
    {"submissions", &counts.submissions},
    {"waits", &counts.waits},
    {"ioctls", &counts.ioctls},
    {"syncs", &counts.syncs},
    {"bos", &counts.bos}, /* that there are now */
    {"bos_created", &counts.bos_created},
    {"contexts", &counts.contexts}, /* that there are now */
    {"contexts_created", &counts.contexts_created},
};

uint64_t amdxdna_stub_count(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        if (strcmp(names[i].name, name) == 0)
            return *names[i].count;
    complain("nothing is counted as %s", name);
    abort();
}

/* Who executes texts from now on; NULL: nobody. */
void amdxdna_stub_text(text_dispatch function)
{
    dispatch_text = function;
}

void amdxdna_stub_instant(int on)
{
    instant = on;
}

static bool is_fault(const char *kind, uint64_t count, uint64_t since)
{
    return fault.at != 0 && strcmp(fault.kind, kind) == 0 && count - since == fault.at;
}

/* --- Memory -------------------------------------------------------------------------------------------- */

static struct bo *find_bo(uint32_t handle)
{
    bool exists = handle > 0 && handle < MAX_BOS && node.bos[handle].type != AMDXDNA_BO_INVALID;
    return exists ? &node.bos[handle] : NULL;
}

static bool lies_within(const struct bo *bo, uint64_t address, uint64_t bytes)
{
    return address >= bo->address && bytes <= bo->size && address - bo->address <= bo->size - bytes;
}

/* What the array sees from a device address to the end of its bo; NULL if not even `bytes` of it. */
static struct seen seen_at(uint64_t address, uint64_t bytes, uint32_t type)
{
    uint32_t first = address >> 32, last = first;
    if (first == 0) { /* in the heap, of which several bos are cut */
        first = 1;
        last = node.highest_bo;
    }
    for (uint32_t handle = first; handle <= last; handle++) {
        struct bo *bo = find_bo(handle);
        if (bo != NULL && bo->type == type && lies_within(bo, address, bytes))
            return (struct seen){bo->device + (address - bo->address), bo->size - (address - bo->address)};
    }
    return (struct seen){NULL, 0};
}

static void *device_memory(uint64_t address, uint64_t bytes, uint32_t type)
{
    return seen_at(address, bytes, type).start;
}

/* The lowest gap of the heap in which `size` bytes fit. */
static int place_in_heap(struct bo *bo)
{
    uint64_t address = HEAP_BASE;
    for (uint32_t handle = 1; handle <= node.highest_bo; handle++) {
        struct bo *other = find_bo(handle);
        if (other != NULL && other->type == AMDXDNA_BO_DEV && other->address < address + bo->size &&
            address < other->address + other->size) {
            address = (other->address + other->size + PAGE - 1) & ~(PAGE - 1);
            handle = 0; /* again: an earlier one may lie here */
        }
    }
    if (address + bo->size > HEAP_BASE + node.heap_size)
        return EAGAIN; /* XRT then makes the heap larger */
    bo->address = address;
    bo->host = node.heap_host + (address - HEAP_BASE);
    bo->device = node.heap_device + (address - HEAP_BASE);
    return 0;
}

static int create_bo(struct amdxdna_drm_create_bo *call)
{
    counts.bos_created++;
    if (is_fault("enomem", counts.bos_created, fault.bos))
        return ENOMEM;
    uint32_t handle = 1;
    while (handle < MAX_BOS && node.bos[handle].type != AMDXDNA_BO_INVALID)
        handle++;
    if (handle == MAX_BOS)
        return ENOMEM;
    if (call->size == 0 || call->size >= 1ull << 32 || call->vaddr != 0)
        return EINVAL;
    struct bo bo = {.type = call->type, .size = call->size, .address = (uint64_t)handle << 32};
    if (bo.type == AMDXDNA_BO_DEV) {
        int error = place_in_heap(&bo);
        if (error != 0)
            return error;
    } else if (bo.type == AMDXDNA_BO_DEV_HEAP) {
        if (node.heap_size + bo.size > HEAP_LIMIT)
            return ENOMEM;
        bo.address = HEAP_BASE + node.heap_size;
        bo.device = node.heap_device + node.heap_size;
        node.heap_size += bo.size;
    } else if (bo.type == AMDXDNA_BO_SHARE && !shared) {
        bo.device = malloc(bo.size);
        if (bo.device == NULL)
            return ENOMEM;
        memset(bo.device, 0xFF, bo.size); /* NaN until somebody writes it: what is there is another program's */
    } else if (bo.type != AMDXDNA_BO_CMD && bo.type != AMDXDNA_BO_SHARE) {
        return EINVAL;
    }
    node.bos[handle] = bo;
    node.highest_bo = handle > node.highest_bo ? handle : node.highest_bo;
    call->handle = handle;
    counts.bos++;
    return 0;
}

static int get_bo_info(struct amdxdna_drm_get_bo_info *call)
{
    struct bo *bo = find_bo(call->handle);
    if (bo == NULL)
        return ENOENT;
    call->vaddr = 0;
    call->xdna_addr = bo->address;
    call->map_offset = bo->type == AMDXDNA_BO_DEV ? AMDXDNA_INVALID_ADDR : bo->address;
    return 0;
}

static int sync_bo(struct amdxdna_drm_sync_bo *call)
{
    struct bo *bo = find_bo(call->handle);
    if (bo == NULL)
        return ENOENT;
    if (bo->host == NULL || bo->device == NULL || call->offset > bo->size || call->size > bo->size - call->offset)
        return EINVAL;
    counts.syncs++;
    char *host = bo->host + call->offset, *device = bo->device + call->offset;
    bool to_device = call->direction == SYNC_DIRECT_TO_DEVICE;
    memcpy(to_device ? device : host, to_device ? host : device, call->size);
    return 0;
}

static int close_bo(struct drm_gem_close *call)
{
    struct bo *bo = find_bo(call->handle);
    if (bo == NULL)
        return EINVAL;
    for (uint64_t queued = node.finished; queued < node.submitted; queued++)
        if (node.queue[queued % MAX_QUEUED].handle == call->handle)
            complain("the bo of a command in progress is closed");
    if (bo->type == AMDXDNA_BO_SHARE && !shared)
        free(bo->device);
    if (bo->type == AMDXDNA_BO_DEV_HEAP)
        node.heap_size -= bo->size;
    if (bo->type != AMDXDNA_BO_DEV)
        fallocate(node.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, bo->address, (bo->size + PAGE - 1) & ~(PAGE - 1));
    *bo = (struct bo){.type = AMDXDNA_BO_INVALID};
    counts.bos--;
    return 0;
}

/* --- What the array computes --------------------------------------------------------------------------- */

enum { MAGIC = 0x55504E57, VERSION = 2, WORDS = 64, MAX_ARGUMENTS = 5, MAX_COUNT = 1 << 16, MAX_SIZE = 1 << 16 };
enum { BF16 = 0, F32 = 1 };                            /* type of an argument's elements */
enum { NEAREST_EVEN = 0, TOWARD_ZERO = 1, FLOOR = 2 }; /* rounding */

struct argument {
    uint32_t elements, type, written;
};

struct separate { /* C = A B of several matrices; arguments A, B, C */
    uint32_t count, m, k, n, rounding;
    uint32_t a_stride, a_step, b_stride, b_step, c_stride, c_step;
};

struct pairs { /* the same, A and B of each product in micro-tiles one after the other; arguments AB, C */
    uint32_t count, m, k, n, rounding;
    uint32_t r, s, t;
};

struct norm { /* arguments X, the residual if any, weight and bias in one or two, the sum if there is a residual, Y */
    uint32_t rows, columns, stride, epsilon, residual;
    uint32_t weight, weight_start, bias, bias_start; /* number of the argument, and where it begins there */
};

struct instructions { /* a stand-in's instructions, in the order of their words */
    uint32_t magic, version, operation, arguments;
    struct argument argument[MAX_ARGUMENTS];
    union {
        struct separate separate;
        struct pairs pairs;
        struct norm norm;
        uint32_t words[WORDS - 4 - 3 * MAX_ARGUMENTS];
    };
};

_Static_assert(sizeof(struct instructions) == WORDS * 4, "one word after the other");

static uint64_t bytes_of(const struct argument *argument)
{
    return (uint64_t)argument->elements * (argument->type == F32 ? 4 : 2);
}

static float element(const void *memory, uint64_t index, uint32_t type)
{
    uint32_t bits;
    if (type == F32)
        memcpy(&bits, (const char *)memory + 4 * index, 4);
    else
        bits = (uint32_t)((const uint16_t *)memory)[index] << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void unpack_rows(float *to, const void *from, uint64_t start, uint32_t rows, uint32_t columns, uint32_t stride,
                        uint32_t type)
{
    for (uint32_t row = 0; row < rows; row++)
        for (uint32_t column = 0; column < columns; column++)
            to[(uint64_t)row * columns + column] = element(from, start + (uint64_t)row * stride + column, type);
}

/* From tiles of `high` x `wide`, themselves row by row, to rows. */
static void unpack_tiles(float *to, const void *from, uint64_t start, uint32_t rows, uint32_t columns, uint32_t high,
                         uint32_t wide, uint32_t type)
{
    for (uint32_t row = 0; row < rows; row += high)
        for (uint32_t column = 0; column < columns; column += wide)
            for (uint32_t r = 0; r < high; r++)
                for (uint32_t c = 0; c < wide; c++)
                    to[(uint64_t)(row + r) * columns + column + c] = element(from, start++, type);
}

static uint16_t bf16_of(float value, uint32_t rounding)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t cut = bits & 0xFFFF, kept = bits >> 16;
    if (value != value)
        return kept | 0x40; /* stays a NaN when its low bits go */
    if (rounding == NEAREST_EVEN)
        return (bits + 0x7FFF + (kept & 1)) >> 16;
    if (rounding == FLOOR && cut != 0 && bits >> 31)
        return kept + 1;
    return kept;
}

enum { ROWS = 4, COLUMNS = 32 }; /* of C at once: what fits into vector registers */

/* C (m,n) = A (m,k) @ B (k,n), sums in fp32. */
static void multiply(float *restrict c, const float *restrict a, const float *restrict b, uint32_t m, uint32_t k,
                     uint32_t n)
{
    for (uint32_t column = 0; column < n; column += COLUMNS)
        for (uint32_t row = 0; row < m; row += ROWS) {
            uint32_t rows = m - row < ROWS ? m - row : ROWS, columns = n - column < COLUMNS ? n - column : COLUMNS;
            float sums[ROWS][COLUMNS] = {{0}};
            if (rows == ROWS && columns == COLUMNS)
                for (uint32_t step = 0; step < k; step++)
                    for (int r = 0; r < ROWS; r++)
                        for (int j = 0; j < COLUMNS; j++)
                            sums[r][j] += a[(uint64_t)(row + r) * k + step] * b[(uint64_t)step * n + column + j];
            else
                for (uint32_t step = 0; step < k; step++)
                    for (uint32_t r = 0; r < rows; r++)
                        for (uint32_t j = 0; j < columns; j++)
                            sums[r][j] += a[(uint64_t)(row + r) * k + step] * b[(uint64_t)step * n + column + j];
            for (uint32_t r = 0; r < rows; r++)
                memcpy(c + (uint64_t)(row + r) * n + column, sums[r], columns * sizeof(float));
        }
}

static float *room(uint64_t elements, int which)
{
    static float *rooms[3];
    static uint64_t sizes[3];
    if (sizes[which] < elements) {
        free(rooms[which]);
        rooms[which] = malloc(elements * sizeof(float));
        sizes[which] = elements;
    }
    if (rooms[which] == NULL)
        abort();
    return rooms[which];
}

static void store(void *memory, uint64_t index, float value, uint32_t type, uint32_t rounding)
{
    if (type == F32)
        memcpy((char *)memory + 4 * index, &value, 4);
    else
        ((uint16_t *)memory)[index] = bf16_of(value, rounding);
}

/* From the first to the last element of all matrices (rows, columns). */
static uint64_t extent(uint32_t count, uint32_t step, uint32_t rows, uint32_t stride, uint32_t columns)
{
    return (uint64_t)(count - 1) * step + (uint64_t)(rows - 1) * stride + columns;
}

static bool has(const struct instructions *is, uint32_t number, uint64_t elements, bool written)
{
    const struct argument *argument = &is->argument[number];
    return number < is->arguments && argument->elements >= elements && argument->written == written;
}

static bool are_sizes(uint32_t count, uint32_t m, uint32_t k, uint32_t n, uint32_t rounding)
{
    return count > 0 && count <= MAX_COUNT && m > 0 && m <= MAX_SIZE && k > 0 && k <= MAX_SIZE && n > 0 &&
           n <= MAX_SIZE && rounding <= FLOOR;
}

static bool fits_separate(const struct instructions *is)
{
    const struct separate *op = &is->separate;
    return are_sizes(op->count, op->m, op->k, op->n, op->rounding) && is->arguments == 3 &&
           has(is, 0, extent(op->count, op->a_step, op->m, op->a_stride, op->k), false) &&
           has(is, 1, extent(op->count, op->b_step, op->k, op->b_stride, op->n), false) &&
           has(is, 2, extent(op->count, op->c_step, op->m, op->c_stride, op->n), true);
}

static void store_product(void *c, const float *sums, uint64_t start, uint32_t stride, uint32_t m, uint32_t n,
                          uint32_t type, uint32_t rounding)
{
    for (uint32_t row = 0; row < m; row++)
        for (uint32_t column = 0; column < n; column++)
            store(c, start + (uint64_t)row * stride + column, sums[(uint64_t)row * n + column], type, rounding);
}

static void compute_separate(const struct instructions *is, void *const *memory)
{
    const struct separate *op = &is->separate;
    float *a = room((uint64_t)op->m * op->k, 0), *b = room((uint64_t)op->k * op->n, 1);
    float *c = room((uint64_t)op->m * op->n, 2);
    for (uint32_t i = 0; i < op->count; i++) {
        unpack_rows(a, memory[0], (uint64_t)i * op->a_step, op->m, op->k, op->a_stride, is->argument[0].type);
        unpack_rows(b, memory[1], (uint64_t)i * op->b_step, op->k, op->n, op->b_stride, is->argument[1].type);
        multiply(c, a, b, op->m, op->k, op->n);
        store_product(memory[2], c, (uint64_t)i * op->c_step, op->c_stride, op->m, op->n, is->argument[2].type,
                      op->rounding);
    }
}

static bool fits_pairs(const struct instructions *is)
{
    const struct pairs *op = &is->pairs;
    uint64_t pair = (uint64_t)op->m * op->k + (uint64_t)op->k * op->n;
    return are_sizes(op->count, op->m, op->k, op->n, op->rounding) && is->arguments == 2 && op->r > 0 && op->s > 0 &&
           op->t > 0 && op->m % op->r == 0 && op->k % op->s == 0 && op->n % op->t == 0 &&
           has(is, 0, op->count * pair, false) && has(is, 1, (uint64_t)op->count * op->m * op->n, true);
}

static void compute_pairs(const struct instructions *is, void *const *memory)
{
    const struct pairs *op = &is->pairs;
    uint64_t a_elements = (uint64_t)op->m * op->k, b_elements = (uint64_t)op->k * op->n;
    uint64_t c_elements = (uint64_t)op->m * op->n;
    float *a = room(a_elements, 0), *b = room(b_elements, 1), *c = room(c_elements, 2);
    for (uint32_t i = 0; i < op->count; i++) {
        uint64_t start = i * (a_elements + b_elements);
        unpack_tiles(a, memory[0], start, op->m, op->k, op->r, op->s, is->argument[0].type);
        unpack_tiles(b, memory[0], start + a_elements, op->k, op->n, op->s, op->t, is->argument[0].type);
        multiply(c, a, b, op->m, op->k, op->n);
        store_product(memory[1], c, i * c_elements, op->n, op->m, op->n, is->argument[1].type, op->rounding);
    }
}

static bool fits_norm(const struct instructions *is)
{
    const struct norm *op = &is->norm;
    uint32_t added = 1 + op->residual;
    if (op->rows == 0 || op->columns == 0 || op->columns > op->stride || op->residual > 1 ||
        is->arguments <= 2 * added || is->arguments > 2 * added + 2)
        return false;
    uint32_t last = is->arguments - added - 1; /* with weight or bias in it; `added` is the first */
    bool parameters = (op->weight == added && op->bias == last) || (op->weight == last && op->bias == added);
    uint64_t elements = extent(1, 0, op->rows, op->stride, op->columns);
    for (uint32_t i = 0; i < added; i++)
        if (!has(is, i, elements, false) || !has(is, last + 1 + i, elements, true))
            return false;
    return parameters && has(is, op->weight, (uint64_t)op->weight_start + op->columns, false) &&
           has(is, op->bias, (uint64_t)op->bias_start + op->columns, false);
}

static void compute_norm(const struct instructions *is, void *const *memory)
{
    const struct norm *op = &is->norm;
    const struct argument *arguments = is->argument;
    uint32_t y = is->arguments - 1;
    float epsilon, *s = room(op->columns, 0);
    memcpy(&epsilon, &op->epsilon, 4);
    for (uint32_t row = 0; row < op->rows; row++) {
        uint64_t start = (uint64_t)row * op->stride;
        float mean = 0, variance = 0;
        for (uint32_t column = 0; column < op->columns; column++) {
            s[column] = element(memory[0], start + column, arguments[0].type);
            if (op->residual) {
                s[column] += element(memory[1], start + column, arguments[1].type);
                store(memory[y - 1], start + column, s[column], arguments[y - 1].type, NEAREST_EVEN);
            }
            mean += s[column];
        }
        mean /= op->columns;
        for (uint32_t column = 0; column < op->columns; column++)
            variance += (s[column] - mean) * (s[column] - mean);
        float scale = 1 / sqrtf(variance / op->columns + epsilon);
        for (uint32_t column = 0; column < op->columns; column++) {
            float weight = element(memory[op->weight], op->weight_start + column, arguments[op->weight].type);
            float bias = element(memory[op->bias], op->bias_start + column, arguments[op->bias].type);
            store(memory[y], start + column, (s[column] - mean) * scale * weight + bias, arguments[y].type,
                  NEAREST_EVEN);
        }
    }
}

/* By number: what a kernel may do. A family that does something else is one more row. */
static const struct {
    bool (*fits)(const struct instructions *);
    void (*compute)(const struct instructions *, void *const *);
} operations[] = {
    {fits_separate, compute_separate},
    {fits_pairs, compute_pairs},
    {fits_norm, compute_norm},
};

static bool are_valid(const struct instructions *is)
{
    if (is->magic != MAGIC || is->version != VERSION || is->operation >= ARRAY_LENGTH(operations) ||
        is->arguments > MAX_ARGUMENTS)
        return false;
    for (uint32_t i = 0; i < is->arguments; i++)
        if (is->argument[i].type > F32 || is->argument[i].written > 1)
            return false;
    return operations[is->operation].fits(is);
}

/* What a fault leaves of the results. */
static void spoil(const struct instructions *is, void *const *memory, bool zeros)
{
    for (uint32_t i = 0; zeros && i < is->arguments; i++)
        if (is->argument[i].written)
            memset(memory[i], 0, bytes_of(&is->argument[i]));
    for (uint32_t i = is->arguments; !zeros && i-- > 0;)
        if (is->argument[i].written) {
            char *end = (char *)memory[i] + bytes_of(&is->argument[i]);
            end[-1] ^= 0x40; /* the highest bit of the exponent */
            return;
        }
}

static const char *compute(const struct instructions *is, const uint64_t *bos, bool zeros, bool part)
{
    static char reason[64];
    void *memory[MAX_ARGUMENTS];
    for (uint32_t i = 0; i < is->arguments; i++) {
        memory[i] = device_memory(bos[i], bytes_of(&is->argument[i]), AMDXDNA_BO_SHARE);
        if (memory[i] == NULL) {
            snprintf(reason, sizeof reason, "bo%u, %s, lies outside of every bo", i,
                     is->argument[i].written ? "a result" : "an operand");
            return reason;
        }
    }
    if (instant)
        return NULL;
    operations[is->operation].compute(is, memory);
    if (zeros || part)
        spoil(is, memory, zeros);
    return NULL;
}

/* --- Commands ------------------------------------------------------------------------------------------ */

/* A command packet: its state in bits 0-3 of the header, the words that follow in 12-22, its opcode in 23-27. */
enum { NEW = 1, COMPLETED = 4, ERROR = 5, ABORT = 6, TIMEOUT = 8 };
enum { START = 0, CHAIN = 19 };
enum { NPU_INSTRUCTIONS = 3 }; /* the kernel's argument `opcode` */
enum { HANGS = 16 };           /* beside the states: it does not end */

struct chain { /* the words of a CHAIN, followed by 64-bit bo handles */
    uint32_t commands, submitted, failed, reserved[3];
};

static void set_state(uint32_t *packet, uint32_t state)
{
    *packet = (*packet & ~0xFu) | state;
}

static uint32_t words_of(const uint32_t *packet)
{
    return *packet >> 12 & 0x7FF;
}

static uint32_t opcode_of(const uint32_t *packet)
{
    return *packet >> 23 & 0x1F;
}

static const char TEXT[] = "// text of a design\n"; /* with which array's part and sequence begin */

static bool is_text(const struct seen *memory)
{
    return memory->bytes >= sizeof TEXT && memcmp(memory->start, TEXT, sizeof TEXT - 1) == 0;
}

static const char *execute_text(const struct context *context, const struct seen *sequence, const uint64_t *addresses)
{
    static char reason[512];
    struct seen array = {NULL, 0}, bos[MAX_ARGUMENTS];
    struct bo *pdi = find_bo(context->pdi);
    if (pdi != NULL)
        array = (struct seen){pdi->device, pdi->size};
    if (!is_text(&array))
        return "the context's PDI is no text of a design";
    if (dispatch_text == NULL)
        return "nobody in this process executes the text of a design";
    for (uint32_t i = 0; i < MAX_ARGUMENTS; i++)
        bos[i] = seen_at(addresses[i], 1, AMDXDNA_BO_SHARE);
    return dispatch_text(&array, sequence, bos, reason, sizeof reason) == 0 ? NULL : reason;
}

/* One dispatch. Where its arguments stand is written in kernels.json. */
static uint32_t dispatch(const struct context *context, const uint32_t *packet)
{
    struct __attribute__((packed)) {
        uint64_t opcode, instructions;
        uint32_t bytes;
        uint64_t bos[MAX_ARGUMENTS];
    } arguments;
    counts.dispatches++;
    static const struct {
        const char *kind;
        uint32_t state;
    } states[] = {{"hang", HANGS}, {"timeout", TIMEOUT}, {"abort", ABORT}, {"error", ERROR}};
    for (size_t i = 0; i < ARRAY_LENGTH(states); i++)
        if (is_fault(states[i].kind, counts.dispatches, fault.dispatches))
            return states[i].state;
    bool zeros = is_fault("zeros", counts.dispatches, fault.dispatches);
    bool part = is_fault("part", counts.dispatches, fault.dispatches);
    const char *reason = NULL;
    if (opcode_of(packet) != START || words_of(packet) * 4 < 4 + sizeof arguments || packet[1] != 1) {
        complain("dispatch %lu: no command for the one kernel", counts.dispatches);
        return ERROR;
    }
    memcpy(&arguments, packet + 2, sizeof arguments);
    uint64_t bos[ARRAY_LENGTH(arguments.bos)];
    memcpy(bos, arguments.bos, sizeof bos);
    struct seen seen = seen_at(arguments.instructions, arguments.bytes, AMDXDNA_BO_DEV);
    const struct instructions *is = seen.start;
    seen.bytes = arguments.bytes;
    if (arguments.opcode != NPU_INSTRUCTIONS)
        reason = "the argument opcode is not 3";
    else if (is == NULL)
        reason = "the instructions lie outside of every instruction bo";
    else if (is_text(&seen))
        reason = zeros || part ? "zeros and part are for instructions in words" : execute_text(context, &seen, bos);
    else if (arguments.bytes != WORDS * 4)
        reason = "the argument ninstr is not the number of bytes";
    else if (!are_valid(is))
        reason = "these are no stand-in instructions";
    else
        reason = compute(is, bos, zeros, part);
    if (reason != NULL)
        complain("dispatch %lu: %s (opcode %lu, instructions 0x%lx, ninstr %u, bos 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx)",
                 counts.dispatches, reason, arguments.opcode, arguments.instructions, arguments.bytes, bos[0], bos[1],
                 bos[2], bos[3], bos[4]);
    return reason == NULL ? COMPLETED : ERROR;
}

static uint32_t *packet_of(uint64_t handle)
{
    struct bo *bo = handle < MAX_BOS ? find_bo(handle) : NULL;
    bool usable = bo != NULL && bo->type == AMDXDNA_BO_CMD && bo->host != NULL && bo->size >= 8 &&
                  (words_of((uint32_t *)bo->host) + 1) * 4 <= bo->size;
    return usable ? (uint32_t *)bo->host : NULL;
}

static uint32_t execute(const struct context *context, uint32_t *packet)
{
    if (opcode_of(packet) != CHAIN)
        return dispatch(context, packet);
    struct chain *chain = (struct chain *)(packet + 1);
    const char *handles = (const char *)(chain + 1);
    counts.chains++;
    if (words_of(packet) * 4 != sizeof *chain + 8 * chain->commands) {
        complain("the chain's length is not that of its %u commands", chain->commands);
        return ERROR;
    }
    for (uint32_t i = 0; i < chain->commands; i++) {
        uint64_t handle;
        memcpy(&handle, handles + 8 * i, 8);
        uint32_t *command = packet_of(handle);
        if (command == NULL)
            complain("command %u of a chain is in no command bo", i);
        uint32_t state = command == NULL ? ERROR : dispatch(context, command);
        if (state != COMPLETED) {
            chain->failed = i;
            return state;
        }
    }
    return COMPLETED;
}

/* The command at the head of the queue: done, unless it hangs. */
static void execute_next(void)
{
    struct command command = node.queue[node.finished % MAX_QUEUED];
    uint32_t *packet = packet_of(command.handle);
    uint32_t state = packet == NULL ? ERROR : execute(&node.contexts[command.context], packet);
    if (state == HANGS) {
        node.hanging = true;
        clock_gettime(CLOCK_MONOTONIC, &node.hanging_since);
        return;
    }
    if (packet != NULL)
        set_state(packet, state);
    node.finished++;
}

static int exec_cmd(struct amdxdna_drm_exec_cmd *call)
{
    if (call->type != AMDXDNA_CMD_SUBMIT_EXEC_BUF || call->cmd_count != 1)
        return EINVAL;
    if (call->hwctx == 0 || call->hwctx > MAX_CONTEXTS || node.contexts[call->hwctx].pdi == 0)
        return EINVAL;
    uint32_t *packet = packet_of(call->cmd_handles);
    if (packet == NULL || (*packet & 0xF) != NEW)
        return EINVAL;
    if (node.submitted - node.finished == MAX_QUEUED)
        return EAGAIN;
    node.queue[node.submitted % MAX_QUEUED] = (struct command){call->hwctx, call->cmd_handles};
    call->seq = ++node.submitted;
    counts.submissions++;
    while (instant && !node.hanging && node.finished < node.submitted)
        execute_next(); /* nothing is computed, so nothing can be read too early */
    return 0;
}

static int64_t nanoseconds(const struct timespec *time)
{
    return time->tv_sec * 1000000000ll + time->tv_nsec;
}

/* When the driver gives up what is hanging, in ns. */
static int64_t driver_deadline(void)
{
    const char *timeout = getenv("XRT_STUB_TIMEOUT");
    return nanoseconds(&node.hanging_since) + (timeout == NULL ? 2000 : atoll(timeout)) * 1000000;
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return nanoseconds(&time);
}

/* End what has been hanging for too long, and all that waits behind it. */
static void give_up(void)
{
    if (!node.hanging || now() < driver_deadline())
        return;
    node.hanging = false;
    for (uint32_t state = TIMEOUT; node.finished < node.submitted; node.finished++, state = ABORT) {
        uint32_t *packet = packet_of(node.queue[node.finished % MAX_QUEUED].handle);
        if (packet != NULL)
            set_state(packet, state);
    }
}

static int really_sleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    static int (*real)(clockid_t, int, const struct timespec *, struct timespec *);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "clock_nanosleep");
    return real(clock, flags, time, left);
}

static int wait_for(uint64_t sequence, int64_t deadline)
{
    counts.waits++;
    if (sequence > node.submitted)
        return EINVAL;
    while (node.finished < sequence) {
        if (!node.hanging) {
            execute_next();
            continue;
        }
        int64_t until = deadline < driver_deadline() ? deadline : driver_deadline();
        struct timespec time = {until / 1000000000, until % 1000000000};
        while (really_sleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
            ;
        give_up();
        if (node.hanging)
            return ETIME;
    }
    return 0;
}

static int wait_timeline(struct drm_syncobj_timeline_wait *call)
{
    if (call->count_handles != 1)
        return EINVAL;
    return wait_for(*(uint64_t *)(uintptr_t)call->points, call->timeout_nsec);
}

static int wait_cmd(struct amdxdna_drm_wait_cmd *call)
{
    return wait_for(call->seq, call->timeout == 0 ? INT64_MAX : now() + call->timeout * 1000000ll);
}

/* --- Contexts and what XRT asks ------------------------------------------------------------------------ */

static int create_context(struct amdxdna_drm_create_hwctx *call)
{
    counts.contexts_created++;
    if (is_fault("context", counts.contexts_created, fault.contexts))
        return EINVAL;
    uint32_t handle = 1;
    while (handle <= MAX_CONTEXTS && node.contexts[handle].used)
        handle++;
    if (handle > MAX_CONTEXTS)
        return EINVAL;
    node.contexts[handle] = (struct context){.used = true};
    call->handle = handle;
    call->syncobj_handle = getenv("XRT_STUB_WAIT_CMD") == NULL ? handle : AMDXDNA_INVALID_FENCE_HANDLE;
    call->umq_doorbell = AMDXDNA_INVALID_DOORBELL_OFFSET;
    counts.contexts++;
    return 0;
}

static int destroy_context(struct amdxdna_drm_destroy_hwctx *call)
{
    if (call->handle == 0 || call->handle > MAX_CONTEXTS || !node.contexts[call->handle].used)
        return EINVAL;
    node.contexts[call->handle] = (struct context){.used = false};
    counts.contexts--;
    return 0;
}

static int configure_context(struct amdxdna_drm_config_hwctx *call)
{
    const struct amdxdna_hwctx_param_config_cu *units = (const void *)(uintptr_t)call->param_val;
    if (call->handle == 0 || call->handle > MAX_CONTEXTS || !node.contexts[call->handle].used)
        return EINVAL;
    if (call->param_type != DRM_AMDXDNA_HWCTX_CONFIG_CU || units->num_cus != 1)
        return EINVAL;
    struct bo *bo = find_bo(units->cu_configs[0].cu_bo);
    if (bo == NULL || bo->type != AMDXDNA_BO_DEV)
        return EINVAL;
    node.contexts[call->handle].pdi = units->cu_configs[0].cu_bo;
    return 0;
}

static int get_info(struct amdxdna_drm_get_info *call)
{
    static const struct amdxdna_drm_query_aie_version version = {1, 1};
    static const struct amdxdna_drm_query_aie_metadata metadata = {
        .cols = 5,
        .rows = 6,
        .version = {1, 1},
        .core = {.row_count = 4, .row_start = 2, .dma_channel_count = 2, .lock_count = 16},
        .mem = {.row_count = 1, .row_start = 1, .dma_channel_count = 6, .lock_count = 64},
        .shim = {.row_count = 1, .row_start = 0, .dma_channel_count = 2, .lock_count = 16},
    };
    static const struct amdxdna_drm_query_firmware_version firmware = {1, 5, 2, 380};
    static const struct amdxdna_drm_query_clock_metadata clocks = {{"MP-NPU Clock", 600, 0}, {"H Clock", 1000, 0}};
    static const struct amdxdna_drm_get_power_mode mode = {.power_mode = POWER_MODE_HIGH};
    static const struct {
        uint32_t parameter;
        const void *answer;
        size_t size;
    } answers[] = {
        {DRM_AMDXDNA_QUERY_AIE_METADATA, &metadata, sizeof metadata},
        {DRM_AMDXDNA_QUERY_AIE_VERSION, &version, sizeof version},
        {DRM_AMDXDNA_QUERY_CLOCK_METADATA, &clocks, sizeof clocks},
        {DRM_AMDXDNA_QUERY_FIRMWARE_VERSION, &firmware, sizeof firmware},
        {DRM_AMDXDNA_GET_POWER_MODE, &mode, sizeof mode},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++)
        if (answers[i].parameter == call->param) {
            size_t size = call->buffer_size < answers[i].size ? call->buffer_size : answers[i].size;
            memcpy((void *)(uintptr_t)call->buffer, answers[i].answer, size);
            call->buffer_size = size;
            return 0;
        }
    return EOPNOTSUPP;
}

/* By number alone, as the kernel does: programs differ in the size that they put into a request. */
static int answer(unsigned long request, void *call)
{
    switch (_IOC_NR(request)) {
    case _IOC_NR(DRM_IOCTL_AMDXDNA_CREATE_HWCTX): return create_context(call);
    case _IOC_NR(DRM_IOCTL_AMDXDNA_DESTROY_HWCTX): return destroy_context(call);
    case _IOC_NR(DRM_IOCTL_AMDXDNA_CONFIG_HWCTX): return configure_context(call);
    case _IOC_NR(DRM_IOCTL_AMDXDNA_CREATE_BO): return create_bo(call);
    case _IOC_NR(DRM_IOCTL_AMDXDNA_GET_BO_INFO): return get_bo_info(call);
    case _IOC_NR(DRM_IOCTL_AMDXDNA_SYNC_BO): return sync_bo(call);
    case _IOC_NR(DRM_IOCTL_AMDXDNA_EXEC_CMD): return exec_cmd(call);
    case _IOC_NR(DRM_IOCTL_AMDXDNA_GET_INFO): return get_info(call);
    case _IOC_NR(DRM_IOCTL_AMDXDNA_WAIT_CMD): return wait_cmd(call);
    case _IOC_NR(DRM_IOCTL_GEM_CLOSE): return close_bo(call);
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT): return wait_timeline(call);
    case _IOC_NR(DRM_IOCTL_SYNCOBJ_DESTROY): return 0; /* it is the context's */
    default: return EOPNOTSUPP;
    }
}

/* --- In place of the C library's functions ------------------------------------------------------------- */

static void open_node(int fd)
{
    node.fd = fd;
    if (!shared)
        node.heap_device = mmap(NULL, HEAP_LIMIT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void close_node(void)
{
    for (uint32_t handle = 1; handle <= node.highest_bo; handle++)
        if (node.bos[handle].type == AMDXDNA_BO_SHARE && !shared)
            free(node.bos[handle].device);
    if (!shared)
        munmap(node.heap_device, HEAP_LIMIT);
    memset(&node, 0, sizeof node);
    node.fd = -1;
    counts.bos = counts.contexts = 0;
}

int open(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "open");
    if (strcmp(path, NODE) == 0 && access(path, R_OK | W_OK) == 0) {
        if (node.fd != -1) {
            errno = EBUSY; /* this stub keeps one; XRT opens it once for all its objects */
            return -1;
        }
        int fd = memfd_create("amdxdna", MFD_CLOEXEC);
        if (fd == -1 || ftruncate(fd, 1ll << 48) == -1)
            return -1;
        open_node(fd);
        return fd;
    }
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return real(path, flags, mode);
}

int close(int fd)
{
    static int (*real)(int);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "close");
    pthread_mutex_lock(&lock);
    if (fd != -1 && fd == node.fd)
        close_node();
    pthread_mutex_unlock(&lock);
    return real(fd);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off_t);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "mmap");
    if (fd == -1 || fd != node.fd)
        return real(address, length, protection, flags, fd, offset);
    /* Unlocked: what a process may lock is no matter of this stub. */
    void *mapped = real(address, length, protection, flags & ~MAP_LOCKED, fd, offset);
    pthread_mutex_lock(&lock);
    for (uint32_t handle = 1; mapped != MAP_FAILED && handle <= node.highest_bo; handle++) {
        struct bo *bo = &node.bos[handle];
        if (bo->address != (uint64_t)offset || bo->type == AMDXDNA_BO_DEV)
            continue;
        bo->host = mapped;
        if (shared)
            bo->device = mapped;
    }
    if (mapped != MAP_FAILED && (uint64_t)offset == HEAP_BASE) {
        node.heap_host = mapped;
        if (shared)
            node.heap_device = mapped;
    }
    pthread_mutex_unlock(&lock);
    return mapped;
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*real)(int, unsigned long, ...);
    va_list arguments;
    va_start(arguments, request);
    void *call = va_arg(arguments, void *);
    va_end(arguments);
    if (fd == -1 || fd != node.fd) {
        if (real == NULL)
            real = dlsym(RTLD_NEXT, "ioctl");
        return real(fd, request, call);
    }
    pthread_mutex_lock(&lock);
    counts.ioctls++;
    give_up();
    bool gone = fault.at != 0 && strcmp(fault.kind, "gone") == 0 && counts.ioctls - fault.ioctls >= fault.at;
    int error = gone ? ENODEV : answer(request, call);
    pthread_mutex_unlock(&lock);
    errno = error;
    return error == 0 ? 0 : -1;
}

/* Python's time.sleep. A run's state is read from memory, so nothing else tells that somebody polls. */
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    pthread_mutex_lock(&lock);
    if (node.fd != -1 && !node.hanging && node.finished < node.submitted)
        execute_next();
    give_up();
    pthread_mutex_unlock(&lock);
    return really_sleep(clock, flags, time, left);
}

__attribute__((constructor)) static void begin(void)
{
    shared = getenv("XRT_STUB_SHARED") != NULL;
    amdxdna_stub_fault(getenv("XRT_STUB_FAULT"));
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("XRT_STUB_COUNTS");
    if (path == NULL || counts.ioctls == 0)
        return;
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        complain("%s cannot be written", path);
        return;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        fprintf(file, "%s\"%s\": %lu", i == 0 ? "{" : ", ", names[i].name, *names[i].count);
    fputs("}\n", file);
    fclose(file);
}
