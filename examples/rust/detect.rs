//! Detects in a frame of raw BGR pixels, through the C API: detect MODEL FRAME WIDTH HEIGHT
//!
//! rustc --edition 2021 examples/rust/detect.rs -L /opt/yolort/lib -C link-arg=-Wl,-rpath,/opt/yolort/lib
use std::ffi::{c_char, c_void, CStr, CString};
use std::process::ExitCode;
use std::ptr;

/// yolort_image in yolort/c.h; the fields that are zero have their defaults.
#[repr(C)]
struct Image {
    pixels: *const u8,
    width: i32,
    height: i32,
    stride: isize,
    format: i32,
    memory: i32,
    stream: *mut c_void,
    channels: i32,
}

/// yolort_detection: the box in pixels of the image, the score from 0 to 1.
#[repr(C)]
#[derive(Clone, Copy)]
struct Detection {
    x1: f32,
    y1: f32,
    x2: f32,
    y2: f32,
    score: f32,
    class_id: i32,
}

#[link(name = "yolort")]
extern "C" {
    fn yolort_last_error() -> *const c_char;
    fn yolort_open(model: *const c_char, options: *const c_void, detector: *mut *mut c_void)
        -> i32;
    fn yolort_free(detector: *mut c_void);
    fn yolort_name(detector: *const c_void, class_id: i32) -> *const c_char;
    fn yolort_detect(
        detector: *mut c_void,
        images: *const Image,
        count: usize,
        thresholds: *const c_void,
        results: *mut *mut c_void,
    ) -> i32;
    fn yolort_results_get(
        results: *const c_void,
        image: usize,
        count: *mut usize,
    ) -> *const Detection;
    fn yolort_results_free(results: *mut c_void);
}

/// A model; freed when it goes out of scope.
struct Detector(*mut c_void);

impl Detector {
    fn open(model: &str) -> Result<Self, String> {
        let model = CString::new(model).map_err(|error| error.to_string())?;
        let mut detector = ptr::null_mut();
        check(unsafe { yolort_open(model.as_ptr(), ptr::null(), &mut detector) })?;
        Ok(Self(detector))
    }

    /// The detections in packed BGR pixels, best score first.
    fn detect(&mut self, pixels: &[u8], width: i32, height: i32) -> Result<Vec<Detection>, String> {
        let bytes = width.max(0) as usize * height.max(0) as usize * 3;
        if bytes == 0 || pixels.len() != bytes {
            return Err(format!(
                "{} bytes are not {width} x {height} BGR pixels",
                pixels.len()
            ));
        }
        let image = Image {
            pixels: pixels.as_ptr(),
            width,
            height,
            stride: 0,
            format: 0,
            memory: 0,
            stream: ptr::null_mut(),
            channels: 0,
        };
        let mut results = ptr::null_mut();
        check(unsafe { yolort_detect(self.0, &image, 1, ptr::null(), &mut results) })?;
        let mut count = 0;
        let found = unsafe { yolort_results_get(results, 0, &mut count) };
        let copied = (0..count).map(|i| unsafe { *found.add(i) }).collect();
        unsafe { yolort_results_free(results) };
        Ok(copied)
    }

    fn name(&self, class_id: i32) -> String {
        text(unsafe { yolort_name(self.0, class_id) })
    }
}

impl Drop for Detector {
    fn drop(&mut self) {
        unsafe { yolort_free(self.0) }
    }
}

fn check(status: i32) -> Result<(), String> {
    if status == 0 {
        return Ok(());
    }
    Err(text(unsafe { yolort_last_error() }))
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

fn run(arguments: &[String]) -> Result<(), String> {
    let [model, frame, width, height] = arguments else {
        return Err("detect MODEL FRAME WIDTH HEIGHT".to_string());
    };
    let side = |text: &String| {
        text.parse::<i32>()
            .map_err(|error| format!("{text}: {error}"))
    };
    let (width, height) = (side(width)?, side(height)?);
    let pixels = std::fs::read(frame).map_err(|error| format!("{frame}: {error}"))?;
    let mut detector = Detector::open(model)?;
    for it in detector.detect(&pixels, width, height)? {
        let name = detector.name(it.class_id);
        println!(
            "{name} {:.3} {:.1} {:.1} {:.1} {:.1}",
            it.score, it.x1, it.y1, it.x2, it.y2
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
