/* YOLORT_API: what the shared library exports; everything else in it is hidden. */
#pragma once

#define YOLORT_API __attribute__((visibility("default")))
