#![no_main]

use twinlearn_fuzz::{VECS_BIN, vectors};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vectors(&VECS_BIN, bytes));
