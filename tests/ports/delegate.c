/* A delegate as small as one can be: what it takes answers ANSWER. TAKES is how many of the operators it takes, FAILS that it
 * does not start. The structures are the beginnings of those of tensorflow/lite/core/c/common.h. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct { int size; int data[]; } IntArray;
typedef struct {
  int type;
  union { float *f; void *raw; } data;
  IntArray *dims;
  struct { float scale; int32_t zero_point; } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  void *delegate;
  int buffer_handle;
  char data_is_stale, is_variable;
  struct { int type; void *params; } quantization;
  void *sparsity;
  const IntArray *dims_signature;
} Tensor;
typedef struct { IntArray *inputs, *outputs, *intermediates, *temporaries; void *user_data; } Node;
typedef struct Context Context;
typedef struct Registration {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  int (*prepare)(Context *, Node *);
  int (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *external, *async_kernel;
  uint64_t inplace_operator;
} Registration;
typedef struct Delegate {
  void *data;
  int (*prepare)(Context *, struct Delegate *);
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
  void *opaque;
} Delegate;
struct Context {
  size_t tensors_size;
  int (*get_execution_plan)(Context *, IntArray **);
  Tensor *tensors;
  void *impl;
  int (*resize_tensor)(Context *, Tensor *, IntArray *);
  void (*report_error)(Context *, const char *, ...);
  int (*add_tensors)(Context *, int, int *);
  int (*get_node_and_registration)(Context *, int, Node **, Registration **);
  int (*replace_node_subsets)(Context *, Registration, const IntArray *, Delegate *);
};

static int invoke(Context *context, Node *node) {
  for (int at = 0; at < node->outputs->size; at++) {
    Tensor *tensor = &context->tensors[node->outputs->data[at]];
    for (size_t item = 0; item < tensor->bytes / sizeof(float); item++) tensor->data.f[item] = ANSWER;
  }
  return 0;
}

static int prepare(Context *context, Delegate *delegate) {
  IntArray *plan;
  if (context->get_execution_plan(context, &plan) != 0) return 1;
  IntArray *taken = malloc(sizeof(IntArray) + sizeof(int) * (size_t)plan->size);
  taken->size = plan->size < TAKES ? plan->size : TAKES;
  for (int at = 0; at < taken->size; at++) taken->data[at] = plan->data[plan->size - taken->size + at];
  Registration kernel = {.invoke = invoke, .custom_name = "TestDelegate", .version = 1};
  int status = taken->size ? context->replace_node_subsets(context, kernel, taken, delegate) : 0;
  free(taken);
  return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report_error)(const char *)) {
  (void)keys, (void)values, (void)count;
#ifdef FAILS
  report_error("no such device is plugged in");
  return NULL;
#else
  (void)report_error;
  Delegate *delegate = calloc(1, sizeof(Delegate));
  delegate->prepare = prepare;
  delegate->flags = 1; /* dynamic tensors are allowed: else operators must be known before the delegate takes them */
  return delegate;
#endif
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
