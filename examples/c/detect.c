/* Detects in a frame of raw BGR pixels: detect_c MODEL FRAME WIDTH HEIGHT */
#include <stdio.h>
#include <stdlib.h>
#include <yolort/c.h>

int main(int argc, char** argv) {
  if (argc != 5) return fputs("detect_c MODEL FRAME WIDTH HEIGHT\n", stderr), 2;
  const yolort_image size = {.width = atoi(argv[3]), .height = atoi(argv[4])};
  const size_t bytes = (size_t)size.width * (size_t)size.height * 3;
  uint8_t* pixels = calloc(bytes, 1);
  FILE* file = fopen(argv[2], "rb");
  if (!pixels || !file || fread(pixels, 1, bytes, file) != bytes) return fputs("the frame cannot be read\n", stderr), 1;
  fclose(file);

  yolort_detector* detector = NULL;
  yolort_results* found = NULL;
  const yolort_image frame = {.pixels = pixels, .width = size.width, .height = size.height};
  if (yolort_open(argv[1], NULL, &detector) || yolort_detect(detector, &frame, 1, NULL, &found)) {
    return fprintf(stderr, "%s\n", yolort_last_error()), 1;
  }
  size_t count;
  const yolort_detection* objects = yolort_results_get(found, 0, &count);
  for (const yolort_detection* it = objects; it < objects + count; ++it) {
    printf("%s %.3f %.1f %.1f %.1f %.1f\n", yolort_name(detector, it->class_id), it->score, it->x1, it->y1, it->x2,
           it->y2);
  }
  yolort_results_free(found);
  yolort_free(detector);
  free(pixels);
  return 0;
}
