// Classifiers in the C API.
#include <algorithm>

#include "c_options.h"
#include "c_status.h"

using yolort::guarded;
using yolort::need;
using yolort::to_image;
using yolort::to_options;

struct yolort_classifier {
  yolort::Classifier classifier;
};

yolort_status yolort_open_classifier(const char* model, const yolort_options* options, yolort_classifier** classifier) {
  if (classifier) *classifier = nullptr;
  return guarded([&] {
    need(model, "model");
    need(classifier, "classifier");
    *classifier = new yolort_classifier{yolort::Classifier(model, to_options(options))};
  });
}

yolort_status yolort_open_classifier_memory(const void* model, size_t size, const char* format,
                                            const yolort_options* options, yolort_classifier** classifier) {
  if (classifier) *classifier = nullptr;
  return guarded([&] {
    need(model, "model");
    need(format, "format");
    need(classifier, "classifier");
    *classifier =
        new yolort_classifier{yolort::Classifier(yolort::ModelBytes{model, size, format}, to_options(options))};
  });
}

yolort_status yolort_clone_classifier(const yolort_classifier* classifier, yolort_classifier** clone) {
  if (clone) *clone = nullptr;
  return guarded([&] {
    need(classifier, "classifier");
    need(clone, "clone");
    *clone = new yolort_classifier{classifier->classifier.clone()};
  });
}

void yolort_free_classifier(yolort_classifier* classifier) { delete classifier; }

size_t yolort_class_count(const yolort_classifier* classifier) {
  return classifier ? classifier->classifier.names().size() : 0;
}

const char* yolort_class_name(const yolort_classifier* classifier, int32_t class_id) {
  if (class_id < 0 || static_cast<size_t>(class_id) >= yolort_class_count(classifier)) return nullptr;
  return classifier->classifier.names()[static_cast<size_t>(class_id)].c_str();
}

const char* yolort_classifier_engine(const yolort_classifier* classifier) {
  return classifier ? classifier->classifier.engine().c_str() : nullptr;
}

yolort_status yolort_classify(yolort_classifier* classifier, const yolort_image* images, size_t count, float* probs) {
  return guarded([&] {
    need(classifier, "classifier");
    if (count) need(images, "images");
    if (count) need(probs, "probs");
    std::vector<yolort::Image> borrowed;
    for (size_t i = 0; i < count; ++i) borrowed.push_back(to_image(images[i]));
    for (const yolort::Classification& found : classifier->classifier.classify(borrowed)) {
      probs = std::copy(found.probs.begin(), found.probs.end(), probs);
    }
  });
}

yolort_status yolort_top(const float* probs, size_t classes, int32_t* best, size_t count) {
  return guarded([&] {
    if (classes) need(probs, "probs");
    if (count) need(best, "best");
    if (count > classes) {
      throw std::invalid_argument("count is " + std::to_string(count) + ", expected at most the " +
                                  std::to_string(classes) + " classes");
    }
    const yolort::Classification scores{std::vector<float>(probs, probs + classes)};
    const std::vector<int> found = scores.top(count);
    std::copy(found.begin(), found.end(), best);
  });
}
