/* yolort in C, for every language that calls C.
 *
 *   yolort_detector* detector = NULL;
 *   yolort_results* found = NULL;
 *   const yolort_image image = {pixels, width, height};
 *   if (yolort_open("yolo26n_ncnn_model", NULL, &detector) || yolort_detect(detector, &image, 1, NULL, &found))
 *     fprintf(stderr, "%s\n", yolort_last_error());
 *   size_t count;
 *   const yolort_detection* objects = yolort_results_get(found, 0, &count);
 *   ...
 *   yolort_results_free(found);
 *   yolort_free(detector);
 *
 * Contracts of all functions:
 * - Functions that can fail return a yolort_status. On failure they set their output to NULL, and yolort_last_error()
 *   returns the message. They never throw a C++ exception. A null pointer for a required argument is
 *   YOLORT_INVALID_ARGUMENT; functions that cannot fail return NULL or 0 for it.
 * - Strings are zero-terminated, belong to the library and are UTF-8 if the model's text is. Unless stated otherwise,
 *   they live as long as the detector.
 * - Set options with yolort_default_options() and yolort_default_thresholds(), then change fields. NULL means the
 *   defaults.
 * - Calls on one detector wait for each other; give each thread its own yolort_clone(). Results are independent: any
 *   thread may read and free them, even after their detector is freed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "yolort/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ABI number of this header, and the soname of the shared library. It changes when programs must be recompiled, not
 * when functions, or fields at the end of the structs with a struct_size, are added. */
#define YOLORT_ABI_VERSION 2

/* YOLORT_ABI_VERSION of the loaded library. */
YOLORT_API int32_t yolort_abi_version(void);
/* "0.1.0"; never freed. */
YOLORT_API const char* yolort_version(void);

typedef int32_t yolort_status;
enum {
  YOLORT_OK = 0,
  YOLORT_INVALID_ARGUMENT = 1,
  YOLORT_FILE_NOT_FOUND = 2, /* a path that does not exist */
  YOLORT_MODEL_ERROR = 3,    /* the model is missing parts, damaged, hostile or newer than this library */
  YOLORT_ENGINE_ERROR = 4,   /* no engine can run the model here, or the engine failed */
  YOLORT_OUT_OF_MEMORY = 5,
  YOLORT_INTERNAL_ERROR = 6 /* anything else: a bug in the library */
};

/* The message of the calling thread's last failure: what, where and what to do. Empty before the first; valid until
 * the next one of this thread. */
YOLORT_API const char* yolort_last_error(void);

/* ---- engines ---- */

/* The engine at a position, best first. `reason` says why it is not available here, and is empty if it is. NULL past
 * the last; both live until the next call of this thread. */
YOLORT_API const char* yolort_engine_at(size_t position, const char** reason);

/* Valid values of yolort_options.device for an engine, by position, the default first; a space precedes the name of the
 * hardware. NULL past the last, and if the engine is not available (see yolort_last_error()). Opens the drivers at
 * the first position; lives until the next call of this thread. */
YOLORT_API const char* yolort_device_at(const char* engine, size_t position);

/* ---- opening a model ---- */

typedef struct yolort_detector yolort_detector;

/* Thresholds of a detection. */
typedef struct yolort_thresholds {
  size_t struct_size;     /* set by yolort_default_thresholds() */
  float conf;             /* keep scores above this, 0 to 1; 0.25 */
  float iou;              /* NMS drops a box whose IoU with a better one is above this, 0 to 1; 0.7 */
  int32_t max_det;        /* maximum number per image, 1 or more; 300 */
  int32_t agnostic;       /* not 0: apply NMS across classes */
  int32_t multi_label;    /* not 0: report every class of a box above conf, not only its best */
  const int32_t* classes; /* keep only these; NULL: all */
  size_t class_count;
  const float* class_conf; /* a threshold per class of the model, which replaces conf; NULL: conf for all */
  size_t class_conf_count;
} yolort_thresholds;

/* Sets all fields to their defaults. `size`: sizeof(yolort_thresholds). */
YOLORT_API yolort_status yolort_default_thresholds(yolort_thresholds* thresholds, size_t size);

/* yolort_options.merge: weighted boxes fusion (arXiv:1910.13302), or the best box of an object. */
enum { YOLORT_WBF = 0, YOLORT_NMS = 1 };

/* yolort_options.rect: each image is padded only to the stride of the model (which needs dynamic height and width), or
 * to height x width. AUTO: the first if the model is dynamic. */
enum { YOLORT_RECT_AUTO = 0, YOLORT_RECT_ON = 1, YOLORT_RECT_OFF = 2 };

typedef struct yolort_options {
  size_t struct_size;       /* set by yolort_default_options() */
  const char* engine;       /* "ncnn", "onnxruntime", ...; NULL: $YOLORT_ENGINE, else the best available */
  const char* device;       /* "cpu"; "0", "cuda:1" or "vulkan": a GPU; NULL: the engine's default */
  const char* precision;    /* "fp32", "fp16", "bf16"; NULL: the fastest that keeps the accuracy */
  int32_t threads;          /* 1 to four per core; 0: one per core */
  int32_t height, width;    /* network input, for a dynamic model or one without metadata; 0: the model's */
  int32_t tuned;            /* not 0, the default: use the record of `yolort tune` */
  const char* const* names; /* class names, for a model without them; NULL: the model's */
  size_t name_count;
  const yolort_thresholds* thresholds; /* used by calls without thresholds; NULL: the defaults */
  const int32_t* scales;               /* test-time augmentation: longer sides of the input, 32 to 16384 pixels */
  size_t scale_count;
  int32_t augment;                 /* not 0: test-time augmentation, at the input size if `scales` is NULL */
  int32_t merge;                   /* how views are merged: YOLORT_WBF or YOLORT_NMS */
  int32_t flip;                    /* not 0, the default: also mirror each scale */
  const char* const* scale_models; /* artifacts with the same classes, used for scales that equal their input sizes */
  size_t scale_model_count;
  const char* const* engine_options; /* settings of the engine under its own names: name, value, name, value, ... */
  size_t engine_option_count;        /* strings in engine_options: two per setting */
  int32_t rect;                      /* YOLORT_RECT_AUTO, ... */
  const int32_t* flip_idx;           /* for poses: each keypoint's counterpart in a mirrored image; NULL: the model's */
  size_t flip_idx_count;
  const int32_t* skeleton; /* for poses: the limbs, two keypoints each; NULL: the model's, see yolort_skeleton() */
  size_t skeleton_count;   /* values in skeleton: two per limb */
  /* Input format, for a model whose metadata does not record it. */
  const char* channels; /* channel order, "rgb" or "bgr", or the number of channels, "1" to "512"; NULL: the model's */
  const char* resize;   /* "letterbox", or "stretch" without keeping proportions; NULL: the model's */
  const float* mean;    /* the input is (grey level / 255 - mean) / stddev: one value, or one per channel; NULL: 0 */
  size_t mean_count;
  const float* stddev; /* NULL: 1 */
  size_t stddev_count;
} yolort_options;

/* Sets all fields to their defaults. `size`: sizeof(yolort_options). */
YOLORT_API yolort_status yolort_default_options(yolort_options* options, size_t size);

/* Opens a model: an .onnx or .engine file, an NCNN folder or .param. `options` may be NULL and is not kept. */
YOLORT_API yolort_status yolort_open(const char* model, const yolort_options* options, yolort_detector** detector);
/* Opens a model in memory, whose bytes are read only during this call. `format`: "onnx", or "tensorrt" for those of an
 * .engine file. */
YOLORT_API yolort_status yolort_open_memory(const void* model, size_t size, const char* format,
                                            const yolort_options* options, yolort_detector** detector);
/* Another detector on the same weights, with its own buffers. */
YOLORT_API yolort_status yolort_clone(const yolort_detector* detector, yolort_detector** clone);
/* NULL is allowed. */
YOLORT_API void yolort_free(yolort_detector* detector);

/* ---- the opened model ---- */

/* Number of classes. */
YOLORT_API size_t yolort_name_count(const yolort_detector* detector);
/* Name of a class; NULL if there is no such class. */
YOLORT_API const char* yolort_name(const yolort_detector* detector, int32_t class_id);
YOLORT_API const char* yolort_engine(const yolort_detector* detector);    /* "ncnn" */
YOLORT_API const char* yolort_device(const yolort_detector* detector);    /* "cpu", "vulkan:0 <name>" */
YOLORT_API const char* yolort_precision(const yolort_detector* detector); /* "fp32", "bf16" */
YOLORT_API const char* yolort_head(const yolort_detector* detector);      /* "raw", "boxes", "end2end", ... */
YOLORT_API const char* yolort_task(const yolort_detector* detector);      /* "detect", "segment", "pose" or "obb" */
/* The limbs of poses, for drawing: two keypoints each. `count`: number of limbs; if they are unknown 0, and NULL. */
YOLORT_API const int32_t* yolort_skeleton(const yolort_detector* detector, size_t* count);
/* A value of the model's metadata; NULL if it lacks the key. */
YOLORT_API const char* yolort_metadata(const yolort_detector* detector, const char* key);
/* Channels of the network input: 3, 1 for gray images, or more. */
YOLORT_API int32_t yolort_channels(const yolort_detector* detector);
/* Height and width of the network input, pixels. */
YOLORT_API yolort_status yolort_imgsz(const yolort_detector* detector, int32_t* height, int32_t* width);
/* Milliseconds of the last yolort_detect(): before, in and after the network. */
YOLORT_API yolort_status yolort_speed(const yolort_detector* detector, double* pre, double* inference, double* post);

/* ---- detecting ---- */

/* yolort_image.format: 8-bit channels, in this order. */
enum {
  YOLORT_BGR = 0,
  YOLORT_RGB = 1,
  YOLORT_BGRA = 2,
  YOLORT_RGBA = 3,
  YOLORT_GRAY = 4,
  YOLORT_CHANNELS = 5 /* yolort_image.channels channels, in the network's order */
};
/* yolort_image.memory */
enum { YOLORT_HOST = 0, YOLORT_CUDA = 1 };

/* Borrowed pixels; they must stay valid during the call that takes them. */
typedef struct yolort_image {
  const uint8_t* pixels; /* first pixel of the top row */
  int32_t width, height; /* pixels, 1 to 65535 */
  ptrdiff_t stride;      /* bytes from one row to the next (may be negative); 0: rows are packed */
  int32_t format;        /* YOLORT_BGR, ... */
  int32_t memory;        /* YOLORT_CUDA: pixels on the detector's GPU */
  void* stream;          /* CUDA stream that writes GPU pixels; NULL: already written */
  int32_t channels;      /* only for YOLORT_CHANNELS: 1 to 512 */
} yolort_image;

typedef struct yolort_detection {
  float x1, y1, x2, y2; /* pixels of the image, clipped to it */
  float score;          /* 0 to 1 */
  int32_t class_id;     /* see yolort_name() */
} yolort_detection;

/* The pixels of an object: one bit per pixel of a rectangle in the image. */
typedef struct yolort_mask {
  int32_t x, y, width, height; /* the rectangle, pixels of the image */
  size_t row_bytes;            /* from one row of bits to the next */
  const uint8_t* bits;         /* the lowest bit of a byte is its leftmost pixel */
} yolort_mask;

/* A box rotated around its center. */
typedef struct yolort_rotated_box {
  float cx, cy, width, height; /* pixels of the image; not clipped */
  float angle;                 /* radians, clockwise */
} yolort_rotated_box;

typedef struct yolort_results yolort_results;

/* Detects in `count` images; engines with a batch dimension run them together. `thresholds` may be NULL: those of
 * yolort_open(). */
YOLORT_API yolort_status yolort_detect(yolort_detector* detector, const yolort_image* images, size_t count,
                                       const yolort_thresholds* thresholds, yolort_results** results);
/* The detections in one of the images, best score first, `count` of them; they live as long as the results. NULL where
 * there are none, or no such image. */
YOLORT_API const yolort_detection* yolort_results_get(const yolort_results* results, size_t image, size_t* count);
/* Additional results of the model's task, in the order and with the lifetime of the detections. NULL if there are
 * no detections, or the model has another task. */
YOLORT_API const yolort_mask* yolort_results_masks(const yolort_results* results, size_t image);
YOLORT_API const yolort_rotated_box* yolort_results_rotated(const yolort_results* results, size_t image);
/* `keypoints` per detection, of `values` each: x y in pixels of the image and, if 3, the visibility, 0 to 1. */
YOLORT_API const float* yolort_results_keypoints(const yolort_results* results, size_t image, int32_t* keypoints,
                                                 int32_t* values);
/* The corners x y x y x y x y of a box, in order around it. */
YOLORT_API yolort_status yolort_corners(const yolort_rotated_box* box, float corners[8]);
/* NULL is allowed. */
YOLORT_API void yolort_results_free(yolort_results* results);

/* ---- classifying ---- */

typedef struct yolort_classifier yolort_classifier;

/* The counterparts of yolort_open() and so on. Thresholds and keypoints are ignored; rect and augmentation are
   refused. */
YOLORT_API yolort_status yolort_open_classifier(const char* model, const yolort_options* options,
                                                yolort_classifier** classifier);
YOLORT_API yolort_status yolort_open_classifier_memory(const void* model, size_t size, const char* format,
                                                       const yolort_options* options, yolort_classifier** classifier);
YOLORT_API yolort_status yolort_clone_classifier(const yolort_classifier* classifier, yolort_classifier** clone);
/* NULL is allowed. */
YOLORT_API void yolort_free_classifier(yolort_classifier* classifier);
/* Number of classes. */
YOLORT_API size_t yolort_class_count(const yolort_classifier* classifier);
/* Name of a class; NULL if there is no such class. */
YOLORT_API const char* yolort_class_name(const yolort_classifier* classifier, int32_t class_id);
YOLORT_API const char* yolort_classifier_engine(const yolort_classifier* classifier); /* "ncnn" */
/* Writes the scores of `count` images, yolort_class_count() of each, one image after the other. */
YOLORT_API yolort_status yolort_classify(yolort_classifier* classifier, const yolort_image* images, size_t count,
                                         float* probs);
/* Writes the `count` best classes of one image, best first, given its scores. */
YOLORT_API yolort_status yolort_top(const float* probs, size_t classes, int32_t* best, size_t count);

#ifdef __cplusplus
}
#endif
