/* What models that segment, find poses or oriented boxes add to a detection: tasks_c MODEL FRAME WIDTH HEIGHT */
#include <stdio.h>
#include <stdlib.h>
#include <yolort/c.h>

int main(int argc, char** argv) {
  if (argc != 5) return fputs("tasks_c MODEL FRAME WIDTH HEIGHT\n", stderr), 2;
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
  int32_t keypoints, values;
  const yolort_detection* objects = yolort_results_get(found, 0, &count);
  const yolort_mask* masks = yolort_results_masks(found, 0); /* each of these is NULL for other tasks */
  const float* points = yolort_results_keypoints(found, 0, &keypoints, &values);
  const yolort_rotated_box* rotated = yolort_results_rotated(found, 0);
  for (size_t i = 0; i < count; ++i) {
    printf("%s %.3f", yolort_name(detector, objects[i].class_id), objects[i].score);
    if (masks) {
      size_t area = 0;
      for (int32_t y = 0; y < masks[i].height; ++y) {
        const uint8_t* row = masks[i].bits + (size_t)y * masks[i].row_bytes;
        for (int32_t x = 0; x < masks[i].width; ++x) area += row[x / 8] >> x % 8 & 1;
      }
      printf(" %zu pixels", area);
    }
    if (points) { /* of two values a keypoint has no visibility */
      const float* point = points + i * (size_t)(keypoints * values);
      for (int32_t k = 0; k < keypoints; ++k, point += values) printf(" %.1f,%.1f", point[0], point[1]);
    }
    if (rotated) {
      float corners[8];
      yolort_corners(&rotated[i], corners);
      for (int k = 0; k < 8; k += 2) printf(" %.1f,%.1f", corners[k], corners[k + 1]);
    }
    printf("\n");
  }
  yolort_results_free(found);
  yolort_free(detector);
  free(pixels);
  return 0;
}
